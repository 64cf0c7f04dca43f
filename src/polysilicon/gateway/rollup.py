"""Sums over the ledger, kept as it grows: for metrics, the live page, the broker and the budgets. Sums equal the ledger by making."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import exp, floor, log10

from polysilicon.gateway.ledger import Entry
from polysilicon.gateway.wiring import Budget, Key, Wiring

NANO = 1e9
TTFT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MEMORY_S = 60.0  # of the demand's moving average
KINDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


@dataclass(slots=True)
class Sums:
    """What one combination of labels added up to."""

    requests: int = 0
    tokens: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    cost_nano_usd: int = 0
    list_nano_usd: int = 0
    saved_nano_usd: int = 0  # against the mean of what the other eligible variants would have cost
    outcomes: dict[str, int] = field(default_factory=dict)
    ttft_buckets: list[int] = field(default_factory=lambda: [0] * (len(TTFT_BUCKETS_S) + 1))
    ttft_sum_s: float = 0.0


Labels = tuple[str, str, str, str, str, str]  # chip, cloud, model, application, contract, stage


class Rollup:
    """Sums by chip, cloud, model, application, contract and stage; demand and spend for the broker."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.by: dict[Labels, Sums] = defaultdict(Sums)
        self.by_variant: dict[str, Sums] = defaultdict(Sums)
        self.entries = 0
        self.drawn_nano_usd: dict[str, int] = defaultdict(int)
        self.scope_nano_usd: dict[tuple[str, str], int] = defaultdict(int)  # (scope, month or day or "")
        self._route_of = {r.id: i for i, r in enumerate(wiring.routes)}
        n = len(wiring.routes)
        self._fresh_tokens = [0.0] * n
        self._in_tokens = [0.0] * n
        self.demand_mtok_per_s = [0.0] * n
        self.mix_in_frac = [0.75] * n
        self._at_s: float | None = None
        self._rate = [0.0] * n
        self._known = 0.0  # how much of the average is made of what was seen: without it a new gateway would see no demand

    def add(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take new entries; return them as a list."""
        taken = list(entries)
        for e in taken:
            self._add(e)
        return taken

    def _add(self, e: Entry) -> None:
        self.entries += 1
        for sums in (self.by[e.chip, e.cloud, e.model, e.application, e.contract, e.stage], self.by_variant[e.variant]):
            sums.requests += 1
            for k, tokens in enumerate((e.fresh_tokens, e.cached_tokens, e.write_5m_tokens, e.write_1h_tokens, e.output_tokens)):
                sums.tokens[k] += tokens
            sums.cost_nano_usd += e.cost_nano_usd
            sums.list_nano_usd += e.list_nano_usd
            if e.others:
                sums.saved_nano_usd += sum(e.others.values()) // len(e.others) - e.cost_nano_usd
            sums.outcomes[e.outcome] = sums.outcomes.get(e.outcome, 0) + 1
            if e.ttft_s:
                sums.ttft_sum_s += e.ttft_s
                sums.ttft_buckets[next((b for b, most in enumerate(TTFT_BUCKETS_S) if e.ttft_s <= most), len(TTFT_BUCKETS_S))] += 1
        if e.contract:
            self.drawn_nano_usd[e.contract] += e.cost_nano_usd
        day = datetime.fromtimestamp(e.at_s, UTC).strftime("%Y-%m-%d")
        for scope in (f"key:{e.key}", f"team:{e.team}", f"application:{e.application}") if e.kind != "shadow" else ():  # on nobody's budget
            for period in ("", day[:7], day):
                self.scope_nano_usd[scope, period] += e.cost_nano_usd
        route = self._route_of.get(e.route)
        if route is not None and e.kind == "request":
            self._fresh_tokens[route] += e.tokens
            self._in_tokens[route] += e.tokens - e.output_tokens

    def settle_demand(self, now_s: float) -> None:
        """Turn the tokens since the last call into a moving average, rounded so that it is news only when it matters."""
        elapsed = now_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = now_s
        if elapsed <= 0:
            return
        keep = exp(-elapsed / _MEMORY_S)
        self._known = keep * self._known + 1.0 - keep
        for r, tokens in enumerate(self._fresh_tokens):
            self._rate[r] = keep * self._rate[r] + (1.0 - keep) * tokens / elapsed / 1e6
            self.demand_mtok_per_s[r] = _round(self._rate[r] / self._known)
            if tokens:
                self.mix_in_frac[r] = round(keep * self.mix_in_frac[r] + (1.0 - keep) * self._in_tokens[r] / tokens, 2)
            self._fresh_tokens[r] = self._in_tokens[r] = 0.0

    def drawn_usd(self) -> dict[str, float]:
        """Return what each contract's targets were paid so far."""
        return {contract: nano / NANO for contract, nano in self.drawn_nano_usd.items()}

    def spent(self, budgets: Iterable[Budget], now_s: float) -> list[int]:
        """Return what each budget has spent in its current period, in nano-dollars."""
        day = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
        return [self.scope_nano_usd[b.scope, {"": "", "month": day[:7], "day": day}[b.period]] for b in budgets]

    def share(self, chips: Iterable[str], *, basis: str) -> float:
        """Return the share that some chips had of all tokens, or of all dollars at list price."""
        wanted = set(chips)
        total = part = 0
        for labels, sums in self.by.items():
            amount = sum(sums.tokens) if basis == "tokens" else sums.list_nano_usd
            total += amount
            part += amount if labels[0] in wanted else 0
        return part / total if total else 0.0


def _round(x: float) -> float:
    return 0.0 if x < 1e-12 else round(x, 2 - floor(log10(x)))


def scopes_of(key: Key) -> tuple[str, str, str]:
    """Return the scopes whose budgets a key's requests draw on."""
    return f"key:{key.id}", f"team:{key.team}", f"application:{key.application}"


def prometheus(rollup: Rollup, custom_chips: Iterable[str], gauges: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """Return the metrics page: own counters, and gauges under the names OpenCost's dashboards know."""
    out: list[str] = []

    def family(name: str, kind: str, help_text: str) -> None:
        out.append(f"# HELP {name} {help_text}\n# TYPE {name} {kind}")

    items = sorted(rollup.by.items())
    family("polysilicon_tokens_total", "counter", "Tokens by kind, as the targets stated them.")
    for labels, sums in items:
        out += [f'polysilicon_tokens_total{{{_labels(labels)},kind="{kind}"}} {sums.tokens[k]}' for k, kind in enumerate(KINDS)]
    family("polysilicon_cost_usd_total", "counter", "Cost under contract, dollars.")
    out += [f"polysilicon_cost_usd_total{{{_labels(labels)}}} {sums.cost_nano_usd / NANO:.9f}" for labels, sums in items]
    family("polysilicon_list_cost_usd_total", "counter", "Cost at list price, dollars.")
    out += [f"polysilicon_list_cost_usd_total{{{_labels(labels)}}} {sums.list_nano_usd / NANO:.9f}" for labels, sums in items]
    family("polysilicon_requests_total", "counter", "Ledger lines by outcome.")
    for labels, sums in items:
        out += [f'polysilicon_requests_total{{{_labels(labels)},outcome="{o}"}} {n}' for o, n in sorted(sums.outcomes.items())]
    family("polysilicon_ttft_seconds", "histogram", "Time to first content, seconds.")
    for labels, sums in items:
        running = 0
        for most, count in zip((*(f"{b:g}" for b in TTFT_BUCKETS_S), "+Inf"), sums.ttft_buckets, strict=True):
            running += count
            out.append(f'polysilicon_ttft_seconds_bucket{{{_labels(labels)},le="{most}"}} {running}')
        out.append(f"polysilicon_ttft_seconds_sum{{{_labels(labels)}}} {sums.ttft_sum_s:.6f}")
        out.append(f"polysilicon_ttft_seconds_count{{{_labels(labels)}}} {running}")
    family("polysilicon_custom_silicon_share", "gauge", "Share of the clouds' own chips in tokens and in list dollars.")
    chips = list(custom_chips)
    out += [f'polysilicon_custom_silicon_share{{basis="{basis}"}} {rollup.share(chips, basis=basis):.6f}' for basis in ("tokens", "usd")]
    out += _opencost(rollup)
    for name, values in (gauges or {}).items():
        family(name, "gauge", "State of the gateway.")
        out += [f"{name}{{{labels}}} {value:g}" for labels, value in values.items()]
    return "\n".join(out) + "\n"


def _opencost(rollup: Rollup) -> list[str]:
    by_model: dict[str, list[float]] = {}
    for labels, sums in rollup.by.items():
        row = by_model.setdefault(labels[2], [0.0, 0.0])
        row[0] += sums.cost_nano_usd / NANO
        row[1] += sum(sums.tokens)
    out = ["# TYPE llm_total_cost gauge", "# TYPE llm_cost_per_million_tokens gauge"]
    for model, (usd, tokens) in sorted(by_model.items()):
        labels_text = f'model_name="{model}",cost_basis="usage",allocation_method="ledger"'
        out.append(f"llm_total_cost{{{labels_text}}} {usd:.9f}")
        if tokens:
            out.append(f"llm_cost_per_million_tokens{{{labels_text}}} {usd / tokens * 1e6:.9f}")
    return out


def _labels(labels: Labels) -> str:
    names = ("chip", "cloud", "model", "app", "contract", "stage")
    return ",".join(f'{n}="{_escape(v)}"' for n, v in zip(names, labels, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
