"""Does it add up? Every claim recomputed from its premises and the catalogue, with a verdict and what would have to change.

holds                        the recomputed value meets the stated one within the tolerance, at both ends of a range
contradicts_own_premises     it does not, and every premise is the claim's own text
contradicted_by_source       it does not, and a catalogue fact, filing or publication stands against it
ambiguous                    it holds in one reading of its unit or baseline and fails in another, or its baseline is not said
unsupported                  no formula, an assumption of ours among the premises, or a claim that only restates itself
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from polysilicon.economics.claims import OWN, Claim, ClaimSet, Premise, Stated
from polysilicon.economics.expression import Formula, Lookup, Node, evaluate, parse, resolve_names, walk
from polysilicon.economics.quantity import Quantity, describe, parse_unit, quantity, without_counts
from polysilicon.economics.repair import Repair, repairs
from polysilicon.economics.wording import render, show, show_range
from polysilicon.errors import InputError, InputErrors, PolysiliconError

VERDICTS: Mapping[str, str] = {
    "holds": "holds",
    "contradicts_own_premises": "contradicts its own premises",
    "contradicted_by_source": "contradicted by a source",
    "ambiguous": "ambiguous unit or baseline",
    "unsupported": "unsupported",
}
_SAME: Mapping[str, tuple[str, ...]] = {  # words that hand-made audits use
    "reproduces": ("holds",),
    "contradicted": ("contradicts_own_premises", "contradicted_by_source"),
    "unverifiable": ("unsupported",),
}
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cited:
    """A fact read from the catalogue, with where it comes from."""

    quantity: Quantity
    unit: str
    source: str
    as_of: str = ""
    basis: str = ""


Cite = Callable[[str, str], Cited]  # subject, parameter -> fact; raises MissingFact or InputError


@dataclass(frozen=True, slots=True)
class PremiseValue:
    """A premise as it was used."""

    name: str
    value: float
    unit: str
    kind: str  # stated, sourced, assumed, catalogue
    source: str
    as_of: str
    text: str = ""  # the expression it was computed from, if any


@dataclass(frozen=True, slots=True)
class Finding:
    """What the audit says of one claim."""

    id: str
    verdict: str
    why: str
    quote: str
    quantity: str
    unit: str
    stated: Range | None
    recomputed: Range | None
    ratio: float | None  # recomputed over stated, at the end where they differ most
    arithmetic: tuple[str, ...]
    premises: tuple[PremiseValue, ...]
    to_hold: tuple[Repair, ...]
    correction: str
    note: str
    source: str
    as_of: str
    covers: tuple[str, ...] = ()
    bound: bool = False  # stated as "more than"
    expected: str = ""  # a verdict the file carried, if any
    readings: Mapping[str, Range] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Say whether the file carried another verdict."""
        return bool(self.expected) and self.verdict not in _SAME.get(self.expected, (self.expected,))

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints: one number where low and high are the same."""
        out = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("premises", "to_hold", "readings")}
        out["differs"] = self.differs
        out["verdict_words"] = VERDICTS[self.verdict]
        out["stated"], out["recomputed"] = _single(self.stated), _single(self.recomputed)
        out["premises"] = [{k: getattr(p, k) for k in p.__dataclass_fields__} for p in self.premises]
        out["to_hold"] = [{k: getattr(r, k) for k in r.__dataclass_fields__} for r in self.to_hold]
        out["readings"] = {name: _single(value) for name, value in self.readings.items()}
        return out


def _single(value: Range | None) -> float | list[float] | None:
    return None if value is None else value[0] if value[0] == value[1] else list(value)


def audit(claims: ClaimSet, cite: Cite) -> tuple[Finding, ...]:
    """Return a finding for every claim of a set.

    Raises: InputErrors when a formula cannot be read, divides by zero, mixes units, goes in a circle or uses what does not exist:
    all of them at once, and then no finding at all.
    """
    findings: list[Finding] = []
    problems: list[InputError] = []
    for claim, place, formula_place in zip(claims.claims, claims.places, claims.formula_places, strict=True):
        try:
            findings.append(_Audit(claim, formula_place, cite, raw=claims.raw_units).finding(claims.expected.get(claim.id, "")))
        except PolysiliconError as error:
            problems.append(_placed(error, claim, place))
    if problems:
        raise InputErrors(problems)
    return tuple(findings)


def _placed(error: PolysiliconError, claim: Claim, place: str) -> InputError:
    where = error.where if error.where.startswith(place.split(":")[0]) and error.where else place
    return InputError(f"claim {claim.id}: {error.message}", where=where, hint=error.hint)


class _Audit:
    """The audit of one claim."""

    def __init__(self, claim: Claim, where: str, cite: Cite, *, raw: bool) -> None:
        self.claim, self.where, self.cite, self.raw = claim, where, cite, raw
        self.cited: dict[tuple[str, str], Cited] = {}
        texts = {None: claim.formula} if claim.formula else dict(claim.readings)
        self.formulas: dict[str | None, Formula] = {name: parse(text, where=where) for name, text in texts.items()}
        self.premise_formulas = {n: parse(p.value, where=where) for n, p in claim.premises.items() if isinstance(p.value, str)}
        self.unit = claim.stated.unit if claim.stated else ""
        self.lookup = self._lookup({})

    def reference(self, subject: str, parameter: str) -> Quantity:
        key = (subject, parameter)
        if key not in self.cited:
            self.cited[key] = self.cite(subject, parameter)
        return self.cited[key].quantity

    def _lookup(self, changed: Mapping[str, float]) -> Lookup:
        """Return the premises' values, some of them multiplied by a factor."""
        literal = {
            name: quantity(float(p.value) * changed.get(name, 1.0), p.unit or "1", where=self.where, raw=self.raw)
            for name, p in self.claim.premises.items()
            if not isinstance(p.value, str)
        }
        inner = resolve_names(self.premise_formulas, literal, self.reference, raw=self.raw)
        settled: dict[str, Quantity] = {}

        def lookup(name: str) -> Quantity:
            if name not in settled:
                found = inner(name)
                if name in self.premise_formulas:
                    found = self._in_unit(name, self.claim.premises[name], found)
                    found = Quantity(found.value * changed.get(name, 1.0), found.dims, found.scale_factor)
                settled[name] = found
            return settled[name]

        return lookup

    def _in_unit(self, name: str, premise: Premise, found: Quantity) -> Quantity:
        """Return a computed premise with the unit it is declared in; counting nouns may be added (GB as GB/chip)."""
        if not premise.unit:
            return found
        unit = parse_unit(premise.unit, where=self.where)
        if without_counts(unit.dims) != without_counts(found.dims):
            message = f'premise "{name}" measures {describe(found.dims)}, its unit "{premise.unit}" measures {describe(unit.dims)}'
            raise InputError(message, where=self.where)
        return Quantity(found.value, unit.dims, found.scale_factor)

    def ends(self, name: str | None, lookup: Lookup) -> Range:
        """Return low and high of a formula in the stated unit."""
        low, high = evaluate(self.formulas[name], lookup, self.reference, raw=self.raw)
        if self.raw:
            return low.value, high.value
        unit = self.unit or "1"
        if not self.claim.stated and not low.plain:
            return low.value, high.value
        return low.to(unit, where=self.where), high.to(unit, where=self.where)

    def finding(self, expected: str) -> Finding:
        claim = self.claim
        values = {name: self.ends(name, self.lookup) for name in self.formulas}
        stated = _stated_range(claim.stated)
        premises = self.premises()
        main = _nearest(values, stated, claim)
        recomputed = None if main is _NOTHING else _ordered(values[main])
        verdict, why = self.judge(values, stated, premises)
        to_hold = () if verdict in ("holds", "unsupported") and self._met(recomputed, stated) else self._repairs(main, stated)
        readings = {str(name): _ordered(value) for name, value in values.items() if name is not None}
        words = {
            "recomputed": show_range(recomputed, self.unit),
            "stated": show_range(stated, self.unit, above=self._above()),
            "ratio": show(_ratio(recomputed, stated) or 0.0),
            **{p.name: f"{show(p.value)} {p.unit}".strip() for p in premises},
        }
        correction = claim.correction or (_default_correction(claim, words) if verdict not in ("holds", "unsupported") else "")
        return Finding(
            id=claim.id,
            verdict=verdict,
            why=why,
            quote=claim.quote,
            quantity=claim.quantity,
            unit=self.unit,
            stated=stated,
            recomputed=recomputed,
            ratio=_ratio(recomputed, stated),
            arithmetic=self.arithmetic(values, premises),
            premises=premises,
            to_hold=to_hold,
            correction=self.fill(correction, words),
            note=self.fill(claim.note, words),
            source=claim.source,
            as_of=claim.as_of,
            covers=claim.covers,
            bound=self._above(),
            expected=expected,
            readings=readings,
        )

    def _above(self) -> bool:
        return self.claim.stated is not None and self.claim.stated.above is not None

    def _met(self, recomputed: Range | None, stated: Range | None) -> bool:
        return recomputed is None or stated is None or meets(recomputed, stated, self.claim.tolerance_frac, above=self._above())

    def premises(self) -> tuple[PremiseValue, ...]:
        """Return every premise as used, and every catalogue fact a formula names."""
        out = []
        for name, premise in self.claim.premises.items():
            found = self.lookup(name)
            cited = [self.cited[key] for key in self._cited_by(name)]
            unit = premise.unit or (cited[0].unit if len(cited) == 1 else "")
            value = found.value if self.raw or not unit else found.value * found.scale_factor / parse_unit(unit).scale_factor
            kind = premise.kind if premise.source or premise.basis else "catalogue" if cited else "sourced"
            source = premise.source or "; ".join(dict.fromkeys(c.source for c in cited))
            as_of = premise.as_of or max((c.as_of for c in cited), default="")
            out.append(PremiseValue(name, value, unit, kind, source, as_of, premise.value if isinstance(premise.value, str) else ""))
            if not source:
                raise InputError(f'premise "{name}" has no source', where=self.where, hint='name one, or "own" for the claim\'s own text')
        for formula in self.formulas.values():
            for subject, parameter in formula.references():
                cited_fact = self.cited[subject, parameter]
                value = cited_fact.quantity.value / parse_unit(cited_fact.unit).scale_factor
                out.append(PremiseValue(f"catalogue.{subject}.{parameter}", value, cited_fact.unit, "catalogue", cited_fact.source, cited_fact.as_of))
        return tuple(out)

    def _cited_by(self, name: str) -> tuple[tuple[str, str], ...]:
        formula = self.premise_formulas.get(name)
        return formula.references() if formula else ()

    def judge(self, values: Mapping[str | None, Range], stated: Range | None, premises: Sequence[PremiseValue]) -> tuple[str, str]:
        """Return the verdict and the reason for it."""
        claim, used = self.claim, self._used(premises)
        baseline = self._judge_baseline()
        if baseline:
            return baseline
        if not values:
            return "unsupported", "nothing is given from which it could be recomputed"
        if stated is None:
            return "unsupported", "it states no number; the recomputed one stands beside it"
        met = {name: meets(_ordered(value), stated, claim.tolerance_frac, above=self._above()) for name, value in values.items()}
        assumed = [p.name for p in used if p.kind == "assumed"]
        if len(met) > 1 and len(set(met.values())) > 1:
            right = ", ".join(str(name) for name, ok in met.items() if ok)
            wrong = ", ".join(str(name) for name, ok in met.items() if not ok)
            return "ambiguous", f"true read as {right}; not read as {wrong}"
        if assumed:
            outcome = "agrees with" if all(met.values()) else "differs from"
            return "unsupported", f"it {outcome} a value that rests on assumptions: {', '.join(assumed)}"
        if all(met.values()):
            if self._only_restates(used):
                return "unsupported", "its premise only restates it"
            return "holds", f"recomputed within {claim.tolerance_frac:.0%}"
        sources = [p for p in used if p.kind in ("sourced", "catalogue")]
        if not sources:
            return "contradicts_own_premises", "its own numbers give another result"
        return "contradicted_by_source", "; ".join(dict.fromkeys(f"{p.name}: {p.source}{f' ({p.as_of})' if p.as_of else ''}" for p in sources))

    def _judge_baseline(self) -> tuple[str, str] | None:
        baseline = self.claim.baseline
        if baseline is None:
            return None
        if not baseline.stated or not baseline.source:
            return "ambiguous", "it does not say against what it is measured" if not baseline.stated else "no source gives its baseline"
        if baseline.stated.casefold() != baseline.source.casefold():
            return "contradicted_by_source", f'it says against "{baseline.stated}"; the source says against "{baseline.source}"'
        return None

    def _used(self, premises: Sequence[PremiseValue]) -> list[PremiseValue]:
        """Return the premises that reach the result: named in a formula, directly or through another premise."""
        names: set[str] = set()
        todo = [name for formula in self.formulas.values() for name in formula.names()]
        while todo:
            name = todo.pop()
            if name not in names:
                names.add(name)
                todo.extend(self.premise_formulas[name].names() if name in self.premise_formulas else ())
        fixed = {n for n, p in self.claim.premises.items() if p.fixed}
        return [p for p in premises if (p.name in names and p.name not in fixed) or p.name.startswith("catalogue.")]

    def _only_restates(self, used: Sequence[PremiseValue]) -> bool:
        """Say whether each end is a single number of the claim's own, perhaps in another unit."""
        if any(p.kind != "stated" for p in used):
            return False
        ends = [node for f in self.formulas.values() for node in (f.low, f.high) if node is not None]
        return all(sum(n.kind in ("name", "reference") for n in walk(node)) <= 1 for node in ends)

    def _repairs(self, main: str | None, stated: Range | None) -> tuple[Repair, ...]:
        if stated is None or main not in self.formulas:
            return ()
        free = [(n, p) for n, p in self.claim.premises.items() if not p.fixed]
        return tuple(repairs(lambda changed: self.ends(main, self._lookup(changed)), free, self.lookup, stated, raw=self.raw))

    def arithmetic(self, values: Mapping[str | None, Range], premises: Sequence[PremiseValue]) -> tuple[str, ...]:
        """Return each formula with its numbers in place and its result."""
        texts = {p.name: f"{show(p.value)} {p.unit}".strip() if p.unit not in ("", "1") else show(p.value) for p in premises}
        lines = [f"{p.name} = {p.text} = {texts[p.name]}" for p in premises if p.text and not p.text.startswith("catalogue.")]
        for name, value in values.items():
            formula = self.formulas[name]
            ends = [formula.low, *([formula.high] if formula.high else [])]
            shown = " .. ".join(render(node, texts) for node in ends)
            lines.append(f"{f'{name}: ' if name else ''}{shown} = {show_range(value, self.unit)}")
        return tuple(lines)

    def fill(self, template: str, words: Mapping[str, str]) -> str:
        """Return a sentence with {name} and {= formula | unit} replaced by what the audit computed."""

        def computed(match: re.Match[str]) -> str:
            inside = match[1].strip()
            if not inside.startswith("="):
                if inside not in words:
                    raise InputError(f'"{{{inside}}}" in a sentence is neither a premise nor recomputed, stated or ratio', where=self.where)
                return words[inside]
            text, _, unit = inside[1:].partition("|")
            low, high = evaluate(parse(text.strip(), where=self.where), self.lookup, self.reference, raw=self.raw)
            unit = unit.strip()
            ends = (low.value, high.value) if self.raw else (low.to(unit or "1", where=self.where), high.to(unit or "1", where=self.where))
            return show_range(ends, unit)

        return re.sub(r"\{([^{}]+)\}", computed, template)


_NOTHING = "\0"


def _nearest(values: Mapping[str | None, Range], stated: Range | None, claim: Claim) -> str | None:
    """Return the reading to show as the recomputed one: the first that does not hold, else the first."""
    if not values:
        return _NOTHING
    above = claim.stated is not None and claim.stated.above is not None
    failing = [n for n, v in values.items() if stated and not meets(_ordered(v), stated, claim.tolerance_frac, above=above)]
    return failing[0] if failing else next(iter(values))


def _stated_range(stated: Stated | None) -> Range | None:
    if stated is None:
        return None
    low = next(v for v in (stated.value, stated.low, stated.above) if v is not None)
    return low, stated.high if stated.high is not None else low


def _ordered(value: Range) -> Range:
    return (value[0], value[1]) if value[0] <= value[1] else (value[1], value[0])


def meets(recomputed: Range, stated: Range, tolerance_frac: float, *, above: bool = False) -> bool:
    """Say whether the recomputed range is the stated one within the tolerance, or lies inside it.

    A single stated value must lie within the recomputed range widened by the tolerance.

    >>> meets((8.0, 100.0), (10.0, 20.0), 0.1), meets((0.45, 0.62), (0.2, 0.9), 0.1), meets((119.4, 119.4), (120.0, 120.0), 0.1)
    (False, True, True)
    """
    if above:
        return recomputed[0] > stated[0]
    slack_low, slack_high = tolerance_frac * abs(stated[0]), tolerance_frac * abs(stated[1])
    if stated[0] == stated[1]:
        return recomputed[0] - slack_low <= stated[0] <= recomputed[1] + slack_low
    return recomputed[0] >= stated[0] - slack_low and recomputed[1] <= stated[1] + slack_high


def _ratio(recomputed: Range | None, stated: Range | None) -> float | None:
    """Return recomputed over stated at the end where they differ most; None where there is nothing to divide."""
    if recomputed is None or stated is None:
        return None
    ratios = [r / s for r, s in zip(recomputed, stated, strict=True) if s != 0]
    return max(ratios, key=lambda r: max(abs(r), 1 / abs(r)) if r else float("inf")) if ratios else None


def _default_correction(claim: Claim, words: Mapping[str, str]) -> str:
    return f"{claim.quantity[0].upper()}{claim.quantity[1:]}: {words['recomputed']}, not {words['stated']}."


__all__ = ["OWN", "VERDICTS", "Cite", "Cited", "Finding", "Node", "PremiseValue", "audit", "meets"]
