"""The negotiator's questions, put to the program a study's plan came from, for the report: each figure a re-solve or a closed form."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from polysilicon.errors import InputError, PolysiliconError
from polysilicon.model import port_value
from polysilicon.planner import frontier, leverage, measures, port_surface, stress, thresholds
from polysilicon.planner.ports import Candidate
from polysilicon.planner.problem import Problem
from polysilicon.planner.resolve import Asker
from polysilicon.report.asked import Asked, Comparison, FrontierPoint, PortBreakEven, PortSurface, Route, ShockCase, SloPrice, SupplierWorth
from polysilicon.report.figures import years
from polysilicon.report.words import money
from polysilicon.study.run import Progress, StudyResult
from polysilicon.study.slo_price import slo_price

QUESTIONS = ("negotiate", "port", "stress", "frontier", "slo")
SMALL_COLUMNS = 6000  # of a program whose questions take seconds
SURFACE_GAINS = tuple(round(0.1 * i, 1) for i in range(1, 11))
SURFACE_POINTS = 14
SHAPLEY_MOST = 4  # clouds, up to which 2^n solves are worth a report's time


def answers_of(
    result: StudyResult,
    wanted: Collection[str],
    *,
    pairs: Sequence[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> Asked:
    """Return the answers to the questions wanted, all from the program of the study's last plan, headroom included.

    What takes no solving is always answered: from which gain each port pays, by the closed form. Where the program is small
    and nothing was asked for, suppliers and stress are answered too.

    A question whose re-solves find no end in time is named among `unanswered`; the others are answered all the same.

    Raises: InputError for an offer to compare that does not exist.
    """
    tables = result.tables
    if tables is None:
        return Asked()
    tell = progress or (lambda _done, _words: None)
    if not wanted and result.program is not None and result.program.model.nvars <= SMALL_COLUMNS:
        wanted = ("negotiate", "stress")
    asker = Asker(tables) if {"negotiate", "stress", "slo"} & set(wanted) else None
    found = Asked(ports=tuple(_ports(result, tables, solve="port" in wanted, tell=tell)), surface=_surface(tables, result), routes=_routes(result))
    questions: list[tuple[str, str, Callable[[], dict[str, Any]]]] = []
    if asker is not None:
        questions += [
            ("negotiate", "what each supplier is worth", lambda: {"suppliers": _suppliers(asker)}),
            ("stress", "stress", lambda: {"shocks": _shocks(tables, asker)}),
            ("slo", "what a millisecond costs", lambda: {"slo_prices": _slo_prices(result, tables, asker)}),
        ]
    questions.append(("frontier", "frontier", lambda: {"frontier": _frontier(tables)}))
    chosen = [q for q in questions if q[0] in wanted]
    if pairs:
        chosen.append(("compare", "comparing offers", lambda: {"comparisons": tuple(_compared(tables, a, b) for a, b in pairs)}))
    for i, (name, words, work) in enumerate(chosen):
        tell(i / len(chosen), words)
        found = _answered(found, name, words, work, asker if name in ("negotiate", "stress") else None)
    return found


def _answered(found: Asked, name: str, words: str, work: Callable[[], dict[str, Any]], asker: Asker | None) -> Asked:
    """Return the answers with one more, and what it took; one that found no end in time is told, and costs the report nothing else."""
    began, before = time.monotonic(), asker.solves if asker is not None else 0
    try:
        answer = work()
    except InputError:
        raise
    except PolysiliconError as error:
        return replace(found, unanswered=(*found.unanswered, f"{words}: not answered, {error.message}"))
    took = time.monotonic() - began
    solves = f"{asker.solves - before} re-solves of one program" if asker is not None else "A new program at each step"
    told = f"{solves}, {took:.0f} s"
    if asker is not None and (base := _base_usd(answer)) is not None:
        told += f"; {asker.compared_with(base)}"
    return replace(found, **answer, effort={**found.effort, name: told})


def _base_usd(answer: dict[str, Any]) -> float | None:
    """Return what the plan costs that suppliers or shocks are compared with."""
    return next((float(row.with_usd) for rows in answer.values() for row in rows if isinstance(row, (SupplierWorth, ShockCase))), None)


def _routes(result: StudyResult) -> tuple[Route, ...]:
    """Return the cheapest way of each workload in each cloud, as of the first period."""
    if result.program is None or result.solution is None:
        return ()
    application = {w.id: w.application or w.id for w in result.resolved.workloads}
    found = measures.routes(result.program, result.solution)
    best = {str(r["workload"]): min(float(x["usd_per_mtok"]) for x in found if x["workload"] == r["workload"]) for r in found}
    return tuple(
        Route(application[w], w, str(r["cloud"]), str(r["where"]), float(r["usd_per_mtok"]), float(r["usd_per_mtok"]) <= best[w])
        for r in found
        if (w := str(r["workload"]))
    )


def _suppliers(asker: Asker) -> tuple[SupplierWorth, ...]:
    found = leverage.negotiate(asker.tables, asker=asker)
    clouds = [s for s in found if s.kind == "cloud"]
    shared = 1 < len(clouds) <= SHAPLEY_MOST and all(price is not None for price in asker.tables.unserved_usd_per_mtok)
    fair = leverage.shapley(asker.tables, asker=asker) if shared else {}  # with no cloud at all everything is unserved, at its price
    return tuple(
        SupplierWorth(
            s.kind,
            s.name,
            s.token_share_frac,
            s.spend_usd,
            _finite(s.value_usd) if s.is_priced else None,
            _finite(s.without_released_usd - s.with_usd) if s.is_priced else None,
            s.without_unserved_frac,
            s.indifference_factor,
            s.walk_away_factor,
            s.movable_frac,
            fair.get(s.name) if s.kind == "cloud" else None,
            s.with_usd,
        )
        for s in found
    )


def _shocks(tables: Problem, asker: Asker) -> tuple[ShockCase, ...]:
    found = stress.standard(tables, asker=asker)
    return tuple(
        ShockCase(s.name, _finite(s.delta_usd) if s.is_priced else None, s.unserved_mtok, s.unserved_frac, s.replanned, s.base_usd) for s in found
    )


def _frontier(tables: Problem) -> tuple[FrontierPoint, ...]:
    points = []
    for axis in (frontier.resilience(tables), frontier.concentration(tables), frontier.carbon(tables)):
        base = next((step.usd for step in axis if step.usd is not None), None)
        for step in axis:
            more = None if step.usd is None or not base else step.usd / base - 1.0
            points.append(FrontierPoint(step.axis, step.limit, step.usd, more))
    return tuple(points)


def _slo_prices(result: StudyResult, tables: Problem, asker: Asker | None) -> tuple[SloPrice, ...]:
    base = (asker or Asker(tables)).ask()
    promised = [w.id for w in result.resolved.workloads if w.slo.tpot_s or w.slo.ttft_s]
    return tuple(slo_price(result.resolved, tables, name, margin_quantile=result.margin_quantile, base=base) for name in promised)


def _compared(tables: Problem, a: str, b: str) -> Comparison:
    found = thresholds.compare_offers(tables, a, b)
    cost = {"neither": found.neither_usd, "a": found.a_usd, "b": found.b_usd, "both": found.both_usd}
    told = {key: None if key in found.unpriced else _finite(usd) for key, usd in cost.items()}
    return Comparison(a, b, told["neither"], told["a"], told["b"], told["both"], found.mtok, found.unserved_frac)


def _ports(result: StudyResult, tables: Problem, *, solve: bool, tell: Progress) -> list[PortBreakEven]:
    started = {(p["model_family"], p["chip_family"]) for p in result.plan.ports}
    first: dict[tuple[str, str], Candidate] = {}
    for candidate in tables.candidates:
        first.setdefault(candidate.key, candidate)
    span = max(1.0, years(result.plan))
    rows = []
    for i, (key, candidate) in enumerate(sorted(first.items())):
        spend = _movable_usd_per_year(result, tables, *key)
        terms = port_surface.terms_of(candidate, movable_frac=1.0)
        needed = port_value.break_even_gain_frac(spend, horizon_years=span, terms=terms) if spend > 0 else None
        program = port_surface.PortProgram(span, terms).switch_gain_frac(spend) if spend > 0 else None
        factor, words = None, "not asked"
        if solve:
            tell(0.05 * i / len(first), f"port of {key[0]} to {key[1]}")
            factor, words = _switch(tables, *key)
        lead = candidate.port.lead_months or 0.0
        rows.append(PortBreakEven(*key, candidate.cost_usd, lead, spend, needed, program, factor, words, key in started))
    return rows


def _switch(tables: Problem, family: str, chip_family: str) -> tuple[float | None, str]:
    try:
        factor, _ = thresholds.port_switch(tables, family, chip_family, steps=5)
    except PolysiliconError as error:
        return None, error.message
    if factor is None:
        return None, "at no efficiency up to 8 times the one assumed"
    return (None, "even at a tenth of the efficiency assumed") if factor <= 0.101 else (factor, "")


def _movable_usd_per_year(result: StudyResult, tables: Problem, family: str, chip_family: str) -> float:
    """Return the yearly cost of what a family serves on other chips: what a port could move."""
    mine = {w.id for w, f in zip(tables.workloads, tables.families, strict=True) if f == family}
    of = {p.chip.id: p.chip.family for p in tables.pools}
    moved = sum(p.usd for p in result.plan.placements if p.workload in mine and p.chip and of.get(p.chip) != chip_family)
    return moved / max(years(result.plan), 1e-9)


def _surface(tables: Problem, result: StudyResult) -> PortSurface | None:
    """Return the closed form's worth over gain and spend, with the terms of the dearest port on the table."""
    if not tables.candidates:
        return None
    candidate = max(tables.candidates, key=lambda c: c.cost_usd)
    terms, span = port_surface.terms_of(candidate, movable_frac=1.0), max(1.0, years(result.plan))
    spends = tuple(float(b) for b in np.geomspace(0.01e9, 10e9, SURFACE_POINTS))
    worth = port_surface.surface(SURFACE_GAINS, spends, horizon_years=span, terms=terms)
    words = f"{money(terms.cost_usd)} once, {money(terms.upkeep_usd_per_year)} a year, {12 * terms.lead_years:.0f} months, {span:.0f} years"
    return PortSurface(SURFACE_GAINS, spends, tuple(tuple(float(x) for x in row) for row in worth), words)


def _finite(usd: float) -> float | None:
    return float(usd) if np.isfinite(usd) else None
