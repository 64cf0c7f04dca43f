"""What a run says: one row a request, one a pool, and the summary that is read first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Slo
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.state import DONE, IN_FLIGHT, ITL_BINS, ITL_FLOOR_S, ITL_WIDTH, STATUS

F8 = NDArray[np.float64]
Numbers = dict[str, Any]
QUANTILES: tuple[float, ...] = (0.5, 0.9, 0.95, 0.99)
_J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class SimulationResult:
    """One row a request in order of arrival (`requests`), counters a replica (`replicas`), and where time went.

    `requests` is a record array: id, arrival_s (at our door; for a session's later request when its think time is over),
    start_s (first admitted to a batch), first_s, done_s, isl_tokens, osl_tokens, tokens, cached_tokens, replica,
    preemptions, retries, workload, status.
    """

    fleet: Fleet
    workload_names: tuple[str, ...]
    requests: NDArray[Any]
    replicas: NDArray[Any]
    pools_counted: NDArray[Any]  # one record a pool: steps and tokens of all its replicas
    itl: F8  # [pools, bins] gaps between tokens
    span_s: float  # from the trace's zero to the last event
    slos: Mapping[str, Slo] = field(default_factory=dict)
    seed: int = 0
    timeline: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # sampled series, see simulator.timeline
    watched: Mapping[str, Any] = field(default_factory=dict)  # the samples of one replica: name, replica, t_s, waiting, batch, kv_frac
    events: Sequence[tuple[float, str]] = ()  # (when, words): failures, starts, prices
    bill_usd: Mapping[str, float] = field(default_factory=dict)  # by pool, where prices changed on the way
    seconds: float = 0.0  # wall time of the run
    loop_events: int = 0  # times the loop went round

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Return which requests got all their tokens."""
        return np.asarray(self.requests["status"] == DONE)

    @property
    def ttft_s(self) -> F8:
        """Return arrival to first token; NaN where there was none."""
        return np.where(self.requests["first_s"] >= 0, self.requests["first_s"] - self.requests["arrival_s"], np.nan)

    @property
    def e2e_s(self) -> F8:
        """Return arrival to last token; NaN for what was not done."""
        return np.where(self.done, self.requests["done_s"] - self.requests["arrival_s"], np.nan)

    @property
    def tpot_s(self) -> F8:
        """Return (e2e - ttft) / (osl - 1); NaN for what was not done or had one token."""
        gaps = self.requests["osl_tokens"] - 1
        spent = self.requests["done_s"] - self.requests["first_s"]
        return np.where(self.done & (gaps > 0), spent / np.maximum(gaps, 1), np.nan)

    @property
    def queue_s(self) -> F8:
        """Return arrival to first admission to a batch; NaN where it was never admitted."""
        return np.where(self.requests["start_s"] >= 0, self.requests["start_s"] - self.requests["arrival_s"], np.nan)

    def met(self) -> NDArray[np.bool_]:
        """Return which requests kept every promise of their workload; one that was refused or unserved kept none."""
        kept = self.done.copy()
        ttft, tpot, e2e = self.ttft_s, self.tpot_s, self.e2e_s
        for w, name in enumerate(self.workload_names):
            slo = self.slos.get(name)
            if slo is None:
                continue
            mine = self.requests["workload"] == w
            for limit, value in ((slo.ttft_s, ttft), (slo.tpot_s, tpot), (slo.e2e_s, e2e), (slo.deadline_s, e2e)):
                if limit is not None:
                    kept &= ~(mine & (value > limit))
        return kept

    def summary(self) -> dict[str, Numbers]:
        """Return the numbers of each workload: outcomes, latencies, goodput, and whether each promise was kept."""
        met = self.met()
        columns = {"ttft_s": self.ttft_s, "tpot_s": self.tpot_s, "e2e_s": self.e2e_s, "queue_s": self.queue_s}
        return {name: self._of_workload(w, name, columns, met) for w, name in enumerate(self.workload_names)}

    def _of_workload(self, w: int, name: str, columns: Mapping[str, F8], met: NDArray[np.bool_]) -> Numbers:
        mine = self.requests["workload"] == w
        rows = self.requests[mine]
        status = np.bincount(rows["status"], minlength=len(STATUS))
        span = max(self.span_s, 1e-12)
        tokens_in = int(rows["isl_tokens"][rows["start_s"] >= 0].sum())
        numbers: Numbers = {
            "requests": len(rows), "done": int(status[DONE]), "in_flight": int(status[IN_FLIGHT]),
            "refused": {STATUS[i]: int(n) for i, n in enumerate(status) if i not in (DONE, IN_FLIGHT) and n},
            "offered_rps": len(rows) / span, "done_rps": int(status[DONE]) / span, "goodput_rps": int(met[mine].sum()) / span,
            "met_frac": float(met[mine].mean()) if len(rows) else 1.0,
            "input_tokens": tokens_in, "output_tokens": int(rows["tokens"].sum()),
            "cached_frac": float(rows["cached_tokens"].sum() / tokens_in) if tokens_in else 0.0,
            "preemptions": int(rows["preemptions"].sum()), "retries": int(rows["retries"].sum()),
        }  # fmt: skip
        for column, values in columns.items():
            numbers[column] = quantiles(values[mine])
        slo = self.slos.get(name)
        inside_s = np.where(rows["status"] == IN_FLIGHT, self.span_s - rows["arrival_s"], np.nan)
        numbers["promises"] = _promises(slo, {c: v[mine] for c, v in columns.items()}, inside_s) if slo is not None else {}
        return numbers

    def pools(self) -> dict[str, Numbers]:
        """Return the numbers of each pool: use of time, batch and memory, gaps between tokens, bill, energy, carbon."""
        numbers: dict[str, Numbers] = {}
        first = 0
        for p, pool in enumerate(self.fleet.pools):
            mine = self.replicas[first : first + pool.replicas]
            first += pool.replicas
            numbers[pool.name] = _of_pool(pool, mine, self.pools_counted[p], self.itl[p])
            numbers[pool.name]["bill_usd"] = self.bill_usd.get(pool.name, numbers[pool.name]["bill_usd"])
        return numbers

    def totals(self) -> Numbers:
        """Return the numbers of the whole fleet."""
        pools = list(self.pools().values())
        bill = sum(p["bill_usd"] for p in pools)
        energy = sum(p["energy_kwh"] for p in pools)
        out_mtok = float(self.requests["tokens"].sum()) / 1e6
        in_mtok = float(self.requests["isl_tokens"][self.requests["start_s"] >= 0].sum()) / 1e6
        met = int(self.met().sum())
        return {
            "span_s": self.span_s, "requests": len(self), "done": int(self.done.sum()), "met": met,
            "goodput_rps": met / max(self.span_s, 1e-12),
            "input_mtok": in_mtok, "output_mtok": out_mtok, "chips": sum(p.chips for p in self.fleet.pools),
            "bill_usd": bill, "energy_usd": sum(p["energy_usd"] for p in pools), "energy_kwh": energy,
            "carbon_kg": sum(p["carbon_kg"] for p in pools),
            "usd_per_mtok_out": bill / out_mtok if out_mtok else None,
            "kwh_per_mtok_out": energy / out_mtok if out_mtok else None,
            "preemptions": int(self.requests["preemptions"].sum()), "retries": int(self.requests["retries"].sum()),
        }  # fmt: skip

    def missed(self) -> list[str]:
        """Return in words each promise that was missed."""
        found = []
        for name, numbers in self.summary().items():
            for what, promise in numbers["promises"].items():
                if not promise["kept"]:
                    value, limit, quantile = promise["value"], promise["limit"], promise["quantile"]
                    found.append(f"{name}: {what} {value:.4g} at the {quantile:g} quantile; promised {limit:g}")
        return found


def quantiles(values: F8) -> Numbers:
    """Return mean, quantiles and maximum of the known values; None where there are none.

    >>> quantiles(np.array([1.0, 2.0, 3.0, np.nan]))["p50"]
    2.0
    """
    known = values[~np.isnan(values)]
    names = [f"p{round(100 * q)}" for q in QUANTILES]
    if not len(known):
        return {"mean": None, **dict.fromkeys(names), "max": None}
    cuts = np.quantile(known, QUANTILES)
    return {"mean": float(known.mean()), **{n: float(c) for n, c in zip(names, cuts, strict=True)}, "max": float(known.max())}


def _promises(slo: Slo, columns: Mapping[str, F8], inside_s: F8) -> Numbers:
    """Return each promise of a workload with the value at its quantile; a request without a value counts as late.

    One-token answers have no TPOT and are left out of that promise alone. A request still in flight at the end of a run
    that was cut, inside for `inside_s` (NaN for others), is late once it is inside for longer than the promise allows;
    before that, nobody can tell, and it is left out.
    """
    limits = {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2e_s": slo.e2e_s, "deadline_s": slo.deadline_s}
    promises: Numbers = {}
    for what, limit in limits.items():
        if limit is None or len(inside_s) == 0:
            continue
        values = columns["e2e_s" if what == "deadline_s" else what]
        open_ = np.isnan(values) & ~np.isnan(inside_s) & ((inside_s <= limit) if what != "tpot_s" else True)
        if what == "tpot_s":
            open_ |= np.isnan(values) & ~np.isnan(columns["e2e_s"])
        values = values[~open_]
        quantile = 1.0 if what == "deadline_s" else slo.quantile
        value = _late_quantile(values, quantile)
        promises[what] = {"limit": limit, "quantile": quantile, "value": value, "kept": value <= limit}
    return promises


def _late_quantile(values: F8, quantile: float) -> float:
    """Return a quantile with NaN as infinitely late; 0 where nothing is promised."""
    if not len(values):
        return 0.0
    ordered = np.sort(np.where(np.isnan(values), np.inf, values))
    return float(ordered[min(len(ordered) - 1, int(np.ceil(quantile * len(ordered))) - 1)])


def _of_pool(pool: Pool, replicas: NDArray[Any], counted: Any, itl: F8) -> Numbers:
    up_s = float(replicas["up_s"].sum())
    busy_s = float(replicas["busy_s"].sum())
    chip_h = up_s * pool.chips_per_replica / 3600
    watts = (busy_s * pool.busy_w_per_chip + max(0.0, up_s - busy_s) * pool.idle_w_per_chip) * pool.chips_per_replica
    energy = watts * pool.pue / _J_PER_KWH
    blocks = pool.kv_blocks
    decode = float(counted["decode_tokens"])
    return {
        "replicas": pool.replicas, "chips": pool.chips, "busy_frac": busy_s / up_s if up_s else 0.0,
        "batch": float(replicas["batch_s"].sum()) / busy_s if busy_s else 0.0,
        "kv_frac": float(replicas["kv_block_s"].sum()) / (up_s * blocks) if up_s and blocks else 0.0,
        "kv_peak_frac": float(replicas["peak_used"].max(initial=0)) / blocks if blocks else 0.0,
        "steps": int(counted["steps"]), "prefill_tokens": float(counted["prefill_tokens"]),
        "cached_tokens": float(counted["cached_tokens"]), "decode_tokens": decode,
        "preemptions": int(replicas["preemptions"].sum()),
        "itl_s": itl_quantiles(itl), "chip_hours": chip_h, "bill_usd": chip_h * pool.usd_per_chip_hour, "energy_kwh": energy,
        "energy_usd": energy * pool.usd_per_kwh, "carbon_kg": energy * pool.g_co2_per_kwh / 1000,
    }  # fmt: skip


def itl_quantiles(counts: F8) -> Numbers:
    """Return quantiles of the gap between tokens from its 2 % bins, at the bins' geometric middle."""
    total = counts.sum()
    if total <= 0:
        return {f"p{round(100 * q)}": None for q in QUANTILES}
    bins = np.minimum(np.searchsorted(np.cumsum(counts), np.array(QUANTILES) * total), ITL_BINS - 1)
    middle = ITL_FLOOR_S * (1 + ITL_WIDTH) ** (bins + 0.5)
    return {f"p{round(100 * q)}": float(m) for q, m in zip(QUANTILES, middle, strict=True)}
