"""Calibrated efficiencies: how much of a datasheet a chip family reaches, by precision and engine, with provenance."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

from polysilicon.errors import InputError, InputErrors
from polysilicon.facts import BASES, Basis
from polysilicon.silicon.chip import Chip

ANY = "*"
KIN = {"mxfp4": "fp4"}  # a precision with no row of its own takes this one's: MXFP4 has one scale a block of 32, NVFP4 two levels
COLUMNS = (
    "subject", "precision", "engine", "parameter", "value", "unit", "source", "as_of", "basis", "points", "error_frac", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a chip family reaches of its peaks, and the latencies no datasheet prints.

    Shares are of dense peak, HBM peak and link rate; latencies are per layer, per collective step or per engine step.
    Factors multiply the parameter they name, for an engine on a chip family or for one chip.
    """

    gemm_math_frac: float = 0.6
    gemm_memory_frac: float = 0.8
    expert_math_frac: float = 0.35
    expert_memory_frac: float = 0.7
    weight_only_math_frac: float = 0.35  # 4-bit weights expanded to 16 bits on the way
    weight_only_memory_frac: float = 0.8
    kv_memory_frac: float = 0.6
    latent_memory_frac: float = 0.4  # one latent cache for all heads
    attention_math_frac: float = 0.35
    latent_math_frac: float = 0.4
    link_frac: float = 0.6
    knee_sharpness_ratio: float = 1.8
    gemm_pad_tokens: float = 16.0  # rows a GEMM pays for beyond those it has
    expert_pad_tokens: float = 12.0  # the same for each expert of a grouped GEMM: tiles that are not full
    layer_s: float = 50e-6  # a dozen launches, norms, small kernels of one layer
    quantised_layer_s: float = 5e-6  # quantising activations of one layer, on top
    moe_layer_s: float = 15e-6  # permutation and grouped-GEMM launches of one MoE layer, on top
    expert_layer_s: float = 0.05e-6  # choosing among the experts of one MoE layer, for each of them, on top
    weight_only_layer_s: float = 15e-6  # expanding small weights apart from the multiplication, in one MoE layer, on top
    latent_layer_s: float = 25e-6  # projections around a latent cache, on top
    linear_layer_s: float = 25e-6  # recurrent state update, on top
    collective_s: float = 1.5e-6  # one step of a collective
    all_to_all_s: float = 20e-6
    routing_skew_factor: float = 1.2  # tokens that choose experts as if fewer chose freely: popular experts are hit twice
    imbalance_factor: float = 1.25  # busiest expert rank over mean
    step_s: float = 0.3e-3  # scheduler, sampler, host of one engine step
    sequence_s: float = 10e-6  # host work for one decoding sequence
    host_token_s: float = 20e-6  # host work for one generated token even where nothing is streamed; hides behind the chips
    prefill_step_s: float = 2e-3  # a step with prefill is launched kernel by kernel
    eager_launch_ratio: float = 4.0  # launches from the host, one by one, over those of a captured graph
    first_token_s: float = 15e-3  # request handling before and after the engine
    admission_s: float = 1e-3  # requests are tokenised and queued one after another
    admission_s_per_token: float = 0.3e-6
    stream_wait_frac: float = 0.5  # of a streaming interval that the first token waits for company
    pool_busy_frac: float = 0.7  # of its time that a prefill pool computes: batches form, caches leave, instances are uneven
    hand_over_s: float = 0.1  # router, set-up of the cache transfer, first decode step
    software_gain_ratio: float = 1.15  # launch latencies shrink by this in a year of releases
    launch_factor: float = 1.0  # engine on chip family: layer_s and what is on top
    moe_launch_factor: float = 1.0
    expert_factor: float = 1.0
    kv_factor: float = 1.0
    memory_factor: float = 1.0  # chip: bandwidth reached over its family's
    math_factor: float = 1.0  # chip: math reached over its family's
    chip_launch_factor: float = 1.0
    usable_memory_frac: float = 0.92  # of HBM, after runtime and activations
    idle_power_frac: float = 0.35  # of TDP drawn by a chip that serves nothing
    error_frac: float = 0.45  # half-width of the 80 % band of TPOT, as measured / predicted
    ttft_error_frac: float = 1.0
    throughput_error_frac: float = 0.6
    basis: Basis = "assumed"
    as_of: str = ""
    source: str = ""


FAMILY_BANDS = {"tpot": "error_frac", "ttft": "ttft_error_frac", "throughput": "throughput_error_frac"}  # kind of number -> band
PARAMETERS: tuple[str, ...] = tuple(f.name for f in fields(Efficiency) if f.name not in ("basis", "as_of", "source"))


def read(text: str, *, where: str) -> tuple[dict[str, str], ...]:
    """Return the rows of an efficiency table; every bad row at once.

    Raises: InputErrors naming row and column.
    """
    table = list(csv.DictReader(text.splitlines()))
    problems: list[InputError] = []
    for number, row in enumerate(table, start=2):
        try:
            value = float(row["value"])
        except (KeyError, TypeError, ValueError):
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            problems.append(InputError(f"value is {row.get('value')!r}; a number from 0 is expected", where=f"{where}:{number}"))
        if row.get("parameter") not in PARAMETERS:
            problems.append(InputError(f'parameter "{row.get("parameter")}" is no efficiency', where=f"{where}:{number}"))
        if not row.get("subject"):
            problems.append(InputError("subject is empty; a chip, a chip family or * is expected", where=f"{where}:{number}"))
        if row.get("basis") not in BASES:
            problems.append(InputError(f'basis "{row.get("basis")}" is not one of {", ".join(BASES)}', where=f"{where}:{number}"))
    if problems:
        raise InputErrors(problems)
    if not table:
        raise InputError("holds no row of an efficiency table", where=where)
    anywhere = {"precision": ANY, "engine": ANY}
    return tuple({name: row.get(name) or anywhere.get(name, "") for name in COLUMNS} for row in table)


def rows(path: str = "") -> tuple[dict[str, str], ...]:
    """Return the rows of the embedded efficiency table, or of a user's own file.

    A file with rows for `*` is a whole table and stands alone; one without is a part (a chip's) and goes over the embedded one.
    """
    return _rows(path, changed_ns(path))


def changed_ns(path: str) -> int:
    """Return when a user's file was last written, so that a new one is read; 0 for the embedded table."""
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error


@lru_cache(maxsize=8)
def _rows(path: str, changed_ns: int) -> tuple[dict[str, str], ...]:
    if not path:
        text = resources.files("polysilicon.data").joinpath("efficiency.csv").read_text(encoding="utf-8")
        return read(text, where="efficiency.csv")
    try:
        mine = read(Path(path).read_text(encoding="utf-8"), where=path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error
    return mine if any(r["subject"] == ANY for r in mine) else (*rows(), *mine)


def resolve(table: Iterable[Mapping[str, str]], chip_id: str, family: str, precision: str, engine: str) -> Efficiency:
    """Return the most specific value of every parameter: chip over family over any, precision over its kin over any, engine over any."""
    rank_of = {ANY: 0, family: 4, chip_id: 8}
    closeness = {ANY: 0.0, KIN.get(precision, precision): 1.5, precision: 2.0}
    best: dict[str, tuple[float, Mapping[str, str]]] = {}
    for row in table:
        if row["subject"] not in rank_of or row["precision"] not in closeness or row["engine"] not in (ANY, engine):
            continue
        rank = rank_of[row["subject"]] + closeness[row["precision"]] + (row["engine"] != ANY)
        if rank >= best.get(row["parameter"], (-1, {}))[0]:
            best[row["parameter"]] = (rank, row)
    values = {name: float(row["value"]) for name, (_, row) in best.items()}
    own = best["error_frac"][1] if "error_frac" in best else None
    label = {"basis": own["basis"], "as_of": own["as_of"], "source": own["source"]} if own else {}
    return replace(Efficiency(), **values, **label)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _resolve(chip_id: str, family: str, precision: str, engine: str, path: str, changed_ns: int) -> Efficiency:
    return resolve(_rows(path, changed_ns), chip_id, family, precision, engine)


def efficiency(chip: Chip, precision: str = ANY, engine: str = ANY, *, path: str = "") -> Efficiency:
    """Return the efficiencies of a chip: its own rows, over its family's, over generic priors."""
    return _resolve(chip.id, chip.family, precision, engine, path, changed_ns(path))


def improved_frac(years: float, *, gain_per_year_frac: float = 0.0) -> float:
    """Return how much faster the same chip serves after years of software: (1 + gain)^years; no gain unless one is stated.

    The same chip moved by 4 to 30 % within a quarter in published runs, so a plan over years may want one.

    >>> improved_frac(2.0), round(improved_frac(2.0, gain_per_year_frac=0.1), 3)
    (1.0, 1.21)

    Raises: InputError for a gain of -100 % or less.
    """
    if gain_per_year_frac <= -1.0:
        raise InputError(f"gain_per_year_frac is {gain_per_year_frac:g}; more than -1 is allowed")
    return float((1.0 + gain_per_year_frac) ** years)
