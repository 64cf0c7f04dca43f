"""Calibrated efficiencies: how much of a datasheet a chip family reaches, by precision and engine, with provenance."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources

from polysilicon.errors import InputError
from polysilicon.facts import Basis
from polysilicon.silicon.chip import Chip

ANY = "*"


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a chip family reaches of its peaks, and the latencies no datasheet prints.

    Shares are of dense peak, HBM peak and link rate; latencies are per layer, per collective step or per engine step.
    """

    gemm_math_frac: float = 0.6
    gemm_memory_frac: float = 0.75
    expert_math_frac: float = 0.4
    expert_memory_frac: float = 0.6
    kv_memory_frac: float = 0.5
    attention_math_frac: float = 0.4
    link_frac: float = 0.7
    knee_sharpness_ratio: float = 2.0
    layer_s: float = 20e-6  # launches, norms, small kernels of one layer
    moe_layer_s: float = 30e-6  # routing, permutation, grouped-GEMM launches of one MoE layer, on top
    collective_s: float = 8e-6  # one step of a collective
    step_s: float = 1e-3  # scheduler, sampler, host of one engine step
    sequence_s: float = 10e-6  # host work for one decoding sequence
    prefill_step_s: float = 2e-3  # a step with prefill is launched kernel by kernel
    first_token_s: float = 10e-3  # request handling before and after the engine
    imbalance_factor: float = 1.1  # busiest expert rank over mean
    usable_memory_frac: float = 0.9  # of HBM, after runtime and activations
    idle_power_frac: float = 0.35  # of TDP drawn by a chip that serves nothing
    error_frac: float = 0.4  # half-width of the 80 % band
    basis: Basis = "assumed"
    as_of: str = ""
    source: str = ""


@lru_cache(maxsize=8)
def rows(path: str = "") -> tuple[dict[str, str], ...]:
    """Return the rows of the efficiency table: the embedded one, or a user's own file."""
    if path:
        with open(path, newline="", encoding="utf-8") as file:  # noqa: PTH123
            return tuple(csv.DictReader(file))
    text = resources.files("polysilicon.data").joinpath("efficiency.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@lru_cache(maxsize=512)
def _resolve(chip_id: str, family: str, precision: str, engine: str, path: str) -> Efficiency:
    known = {f.name for f in fields(Efficiency)}
    best: dict[str, tuple[int, dict[str, str]]] = {}
    for row in rows(path):
        subject = (0, 4, 8)[[ANY, family, chip_id].index(row["subject"])] if row["subject"] in (ANY, family, chip_id) else -1
        matches = row["precision"] in (ANY, precision) and row["engine"] in (ANY, engine)
        if subject < 0 or not matches:
            continue
        rank = subject + 2 * (row["precision"] == precision) + (row["engine"] == engine != ANY)
        if row["parameter"] not in known:
            raise InputError(f'parameter "{row["parameter"]}" is no efficiency', where=path or "efficiency.csv")
        if rank >= best.get(row["parameter"], (-1, {}))[0]:
            best[row["parameter"]] = (rank, row)
    values = {name: float(row["value"]) for name, (_, row) in best.items()}
    own = [row for rank, row in best.values() if rank >= 4] or [row for _, row in best.values()]
    chosen = own[0] if own else {"basis": "assumed", "as_of": "", "source": ""}
    return replace(Efficiency(), **values, basis=chosen["basis"], as_of=chosen["as_of"], source=chosen["source"])  # type: ignore[arg-type]


def efficiency(chip: Chip, precision: str = ANY, engine: str = ANY, *, path: str = "") -> Efficiency:
    """Return the efficiencies of a chip: its own rows, over its family's, over generic priors."""
    return _resolve(chip.id, chip.family, precision, engine, path)
