"""Two chips side by side, in the form the trade press uses, with our sourced figures and a verdict beside each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polysilicon.catalogue import Catalogue, build
from polysilicon.facts import Fact
from polysilicon.silicon.chip import BITS, Chip

RIGHT_WITHIN_FRAC = 0.05  # the press rounds
KV_RESERVE_FRAC = 0.25  # share of memory left for the KV cache where "parameters per GPU" is said


@dataclass(frozen=True, slots=True)
class Cell:
    """One quantity of one chip: what the press says, what is sourced, dense and sparse apart."""

    press: float | None
    dense: float | None  # or simply the figure, where density has no meaning
    sparse: float | None
    basis: str
    source: str
    as_of: str
    verdict: str

    @property
    def mark(self) -> str:
        """Return the verdict in one word: right, sparse, wrong, unknown, or nothing where the press says nothing."""
        if self.press is None:
            return ""
        return next((word for start, word in _MARKS if self.verdict.startswith(start)), "unknown")


_MARKS = (("right", "right"), ("2:4-sparse", "sparse"), ("wrong", "wrong"))


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity of both chips, in one unit."""

    quantity: str
    unit: str
    left: Cell
    right: Cell
    press_ratio: float | None  # right over left, as the press has it
    ratio: float | None  # right over left, ours


def compare(catalogue: Catalogue, left: Chip, right: Chip) -> list[Line]:
    """Return the comparison, one line a quantity.

    Ignores: everything that decides real speed beyond peak figures; see `polysilicon perf` for that.
    """
    said = {subject: {p: f for p, (f, _) in e.items()} for subject, e in build.by_subject(catalogue.content, "press").items()}
    pairs = ((left, said.get(left.id, {})), (right, said.get(right.id, {})))
    lines = [_line(f"{p.upper()} math", "PFLOP/s", *(_math(c, press, p) for c, press in pairs)) for p in ("fp4", "fp8")]
    lines.append(_line("FP16 math", "PFLOP/s", *(_math(c, press, "bf16") for c, press in pairs)))
    lines.append(_line("memory bandwidth", "TB/s", *(_plain(c, press, "hbm_gb_per_s", 1e3) for c, press in pairs)))
    lines.append(_line("links, both ways", "GB/s", *(_interconnect(c, press) for c, press in pairs)))
    lines.append(_line("chip power", "W", *(_plain(c, press, "tdp_w", 1.0) for c, press in pairs)))
    lines.append(_line("all-in power", "W", *(_plain(c, press, "all_in_w", 1.0) for c, press in pairs)))
    lines.append(_line("memory", "GB", *(_plain(c, press, "hbm_gb", 1.0) for c, press in pairs)))
    for what, key in (("dense params a chip", "dense_params"), ("MoE params a chip", "moe_params")):
        lines.append(_line(what, "1e9", *(_params(c, press, key) for c, press in pairs)))
    return lines


def params_that_fit(hbm_gb: float, bits: float, *, reserve_frac: float = KV_RESERVE_FRAC) -> float:
    """Return how many parameters fit beside a reserve for the KV cache: memory x (1 - reserve) / bytes each.

    >>> params_that_fit(80.0, 16) / 1e9
    30.0
    """
    return hbm_gb * 1e9 * (1 - reserve_frac) * 8 / bits


def _line(quantity: str, unit: str, left: Cell, right: Cell) -> Line:
    return Line(quantity, unit, left, right, _ratio(left.press, right.press), _ratio(left.dense, right.dense))


def _ratio(low: float | None, high: float | None) -> float | None:
    return high / low if low and high else None


def _scaled(fact: Fact | None, scale: float) -> float | None:
    return float(fact.value) / scale if fact is not None else None


def _near(said: float, known: float | None) -> bool:
    return known is not None and known > 0 and abs(said / known - 1) <= RIGHT_WITHIN_FRAC


def _math(chip: Chip, press: Mapping[str, Fact], precision: str) -> Cell:
    fact, sparse_fact = chip.facts.get(f"dense_tflop_per_s.{precision}"), chip.facts.get(f"sparse_tflop_per_s.{precision}")
    said, dense, sparse = _scaled(press.get(precision), 1e3), _scaled(fact, 1e3), _scaled(sparse_fact, 1e3)
    if said is None:
        verdict = "" if dense is not None else _no_math(chip, precision)
    elif _near(said, dense):
        verdict = "right"
    elif _near(said, sparse):
        verdict = f"2:4-sparse; dense is {dense:.3g}" if dense is not None else "2:4-sparse"
    else:
        verdict = _off(said, dense)
    return _cell(said, dense, sparse, fact, verdict)


def _no_math(chip: Chip, precision: str) -> str:
    known = [p for p in ("fp4", "fp8", "int8", "bf16") if p in chip.dense_tflop_per_s]
    return f"no {precision.upper()} math is known; has {', '.join(known).upper()}" if known else "not known"


def _plain(chip: Chip, press: Mapping[str, Fact], parameter: str, scale: float) -> Cell:
    fact = chip.facts.get(parameter)
    said, known = _scaled(press.get(parameter), scale), _scaled(fact, scale)
    verdict = "" if said is None else "right" if _near(said, known) else _off(said, known)
    if fact is not None and fact.note and verdict not in ("", "right"):
        verdict += f" ({fact.note})"
    return _cell(said, known, None, fact, verdict)


def _interconnect(chip: Chip, press: Mapping[str, Fact]) -> Cell:
    fact = chip.facts.get("scale_up_gb_per_s")
    said, one_way = _scaled(press.get("interconnect_gb_per_s"), 1.0), _scaled(fact, 1.0)
    known = one_way * 2 if one_way is not None else None
    verdict = "" if said is None else _off(said, known)
    if said is not None and _near(said, known):
        verdict = f"right for both ways; {one_way:,.0f} each way"
    return _cell(said, known, None, fact, verdict)


def _params(chip: Chip, press: Mapping[str, Fact], key: str) -> Cell:
    fact, said = chip.facts.get("hbm_gb"), _scaled(press.get(key), 1e9)
    if chip.hbm_gb is None:
        return _cell(said, None, None, fact, "memory is not known")
    smallest = min((BITS[p] for p in chip.dense_tflop_per_s), default=16)
    bits = 16 if key == "dense_params" and smallest > 4 else smallest
    known = params_that_fit(chip.hbm_gb, bits) / 1e9
    how = f"at {bits} bits with {KV_RESERVE_FRAC:.0%} kept for KV"
    if said is None:
        verdict = how
    elif _near(said, known):
        verdict = f"right {how}"
        if bits < 16:
            verdict += f"; at 16 bits {params_that_fit(chip.hbm_gb, 16) / 1e9:,.0f}"
    else:
        verdict = f"wrong, {said / known:,.1f}x: {known:,.0f} {how}; {said:,.0f} take {said * bits / 8e3:,.1f} TB"
    return _cell(said, known, None, fact, verdict)


def _off(said: float, known: float | None) -> str:
    if known is None:
        return "not known here"
    return f"wrong, {said / known:.2f}x of {known:,.4g}"


def _cell(press: float | None, dense: float | None, sparse: float | None, fact: Fact | None, verdict: str) -> Cell:
    if fact is None:
        return Cell(press, dense, sparse, "", "", "", verdict)
    return Cell(press, dense, sparse, fact.basis, fact.source, fact.as_of, verdict)


@dataclass(frozen=True, slots=True)
class Equivalent:
    """How much of one fleet equals another by one measure."""

    measure: str
    unit: str
    left: float | None  # of the whole left fleet
    right: float | None  # of the whole right fleet
    ratio: float | None  # right over left
    needed_chips: float | None  # right chips that match the left fleet
    needed_systems: float | None  # the same in racks, nodes or pods, where a system was named
    note: str = ""


def equivalents(left: Chip, left_chips: int, right: Chip, right_chips: int, *, system_chips: int = 0) -> list[Equivalent]:
    """Return how two fleets compare in peak math by precision, memory and bandwidth.

    >>> from polysilicon.catalogue import load
    >>> known = load()
    >>> found = equivalents(known.chip("H100"), 4000, known.chip("GB200"), 576)
    >>> [(e.measure, round(e.ratio, 3)) for e in found if e.measure in ("BF16 dense", "HBM capacity")]
    [('BF16 dense', 0.364), ('HBM capacity', 0.335)]
    """
    rows = []
    for precision in ("bf16", "fp8", "fp4"):
        rates = left.dense_tflop_per_s.get(precision), right.dense_tflop_per_s.get(precision)
        rows.append(equivalent(f"{precision.upper()} dense", "PFLOP/s", rates, (left_chips, right_chips), scale=1e3, system_chips=system_chips))
    rows.append(equivalent("HBM capacity", "TB", (left.hbm_gb, right.hbm_gb), (left_chips, right_chips), scale=1e3, system_chips=system_chips))
    bandwidths = left.hbm_gb_per_s, right.hbm_gb_per_s
    rows.append(equivalent("HBM bandwidth", "TB/s", bandwidths, (left_chips, right_chips), scale=1e3, system_chips=system_chips))
    return rows


def press_equivalent(catalogue: Catalogue, left: Chip, left_chips: int, right: Chip, right_chips: int) -> Equivalent | None:
    """Return the FP16 measure with the figures the press prints, or None where it prints none of one of the two."""
    said = build.by_subject(catalogue.content, "press")
    rates = [float(said[c.id]["bf16"][0].value) if c.id in said and "bf16" in said[c.id] else None for c in (left, right)]
    if None in rates:
        return None
    note = "sparse figures; kept for the ratio the press implies"
    return equivalent("FP16 as the press prints it", "PFLOP/s", (rates[0], rates[1]), (left_chips, right_chips), scale=1e3, note=note)


def equivalent(
    measure: str,
    unit: str,
    each: tuple[float | None, float | None],
    chips: tuple[int, int],
    *,
    scale: float = 1.0,
    system_chips: int = 0,
    note: str = "",
) -> Equivalent:
    """Return one measure of two fleets, each given per chip."""
    left, right = (value * count / scale if value else None for value, count in zip(each, chips, strict=True))
    if not left or not right or not each[1]:
        missing = [side for side, value in (("left", left), ("right", right)) if not value]
        return Equivalent(measure, unit, left, right, None, None, None, note or f"not known on the {' and the '.join(missing)}")
    needed = left * scale / each[1]
    return Equivalent(measure, unit, left, right, right / left, needed, needed / system_chips if system_chips else None, note)
