"""What if: an outage, an allocation that does not come, a delivery that slips, a price step, a demand shock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from polysilicon.planner.build import offer_opens
from polysilicon.planner.problem import Problem
from polysilicon.planner.resolve import Answer, Asker, supplier
from polysilicon.scenario.calendar import add_months
from polysilicon.units import HOURS_PER_MONTH


@dataclass(frozen=True, slots=True)
class Shock:
    """One what-if against the base plan. Dollars are discounted over the horizon."""

    name: str
    base_usd: float
    usd: float
    unserved_mtok: float
    unserved_frac: float  # of all requests of the periods hit
    replanned: bool  # False: what was signed and ported stays as planned, only routing and hourly chips react
    is_priced: bool = True  # False: demand goes unserved that nobody priced, and the dollars say nothing

    @property
    def delta_usd(self) -> float:
        """Return the extra cost, unserved demand priced in."""
        return self.usd - self.base_usd


def outage(asker: Asker, base: Answer, *, kind: str, name: str, period: int, days: float) -> Shock:
    """Return what losing a cloud or a chip vendor for some days of a period costs and leaves unserved.

    Structure stays as planned; routing and hourly chips elsewhere react. A whole period without the supplier is solved and
    scaled to the days.
    """
    tables, program = asker.tables, asker.program
    owner = supplier(tables, kind, name)
    gone = np.intersect1d(asker.owned(owner), _of_period(asker, period))
    fixed = _structure(asker, base)
    answer = _with_fixed(asker, base, fixed, gone)
    frac = min(1.0, days * 24.0 / float(program.period_hours[period]))
    rows = np.flatnonzero(program.demand_period == period)
    lost = answer.values[program.blocks["unserved"][rows]] - base.values[program.blocks["unserved"][rows]]
    requests = program.demand_requests[rows]
    mtok = sum(tables.mtok(int(w), float(r)) for w, r in zip(program.demand_workload[rows], lost * requests, strict=True))
    share = float((lost * requests).sum() / max(float(requests.sum()), 1e-30))
    usd = base.usd + (answer.usd - base.usd) * frac
    return Shock(f"{kind} {name} out for {days:g} days", base.usd, usd, mtok * frac, share, False, answer.is_priced)


def _of_period(asker: Asker, period: int) -> np.ndarray:
    program, tables = asker.program, asker.tables
    flows = program.flows
    parts = [flows.label[flows.period == period]]
    if len(program.rent_slot):
        parts.append(program.blocks["rent"][tables.slot_period[program.rent_slot] == period])
    return np.concatenate(parts)


def _structure(asker: Asker, base: Answer) -> np.ndarray:
    program = asker.program
    return np.concatenate([program.blocks[n] for n in ("sign", "hold", "given", "port") if n in program.blocks])


def _with_fixed(asker: Asker, base: Answer, fixed: np.ndarray, gone: np.ndarray) -> Answer:
    """Return the answer with structure as planned and some labels closed; limits on structure then cannot bind anew."""
    engine = asker.engine
    columns = engine.column_of[fixed]
    values = np.maximum(base.values[fixed], 0.0)
    engine.solver.integrality(columns, integer=False)
    engine.solver.bounds(columns, values, values)
    answer = asker.ask(closed=gone)
    engine.reset_bounds(columns)
    engine.solver.integrality(np.intersect1d(columns, asker.whole), integer=True)
    return answer


def deficit(tables: Problem, *, cloud: str, chip: str, months: int, base: Answer) -> Shock:
    """Return what it costs if a cloud cannot deliver a chip for the first months, planned for from the start."""
    offers = tuple(
        replace(o, available_from=max(o.available_from, _later(tables, months))) if (o.cloud, o.chip) == (cloud, chip) else o for o in tables.offers
    )
    return _replanned(replace(tables, offers=offers), f"{cloud} has no {chip} for {months} months", base)


def slip(tables: Problem, *, chip: str, months: int, base: Answer) -> Shock:
    """Return what it costs if a chip arrives everywhere so much later than announced."""
    there = {p.chip.id: p.chip for p in tables.pools}
    was = there[chip].available_from if chip in there else None
    begin = max(was.isoformat() if was else "", tables.periods[0].start)
    when = add_months(date.fromisoformat(begin), months).isoformat()
    offers = tuple(replace(o, available_from=max(o.available_from, when)) if o.chip == chip else o for o in tables.offers)
    return _replanned(replace(tables, offers=offers), f"{chip} slips by {months} months", base)


def price_step(asker: Asker, base: Answer, *, kind: str, name: str, factor: float) -> Shock:
    """Return what a step of a supplier's prices costs, with everything planned anew."""
    labels, _ = asker.spend_of(supplier(asker.tables, kind, name))
    answer = asker.ask(price=(labels, np.full(len(labels), factor)))
    return Shock(f"{kind} {name} at {factor:g} times its price", base.usd, answer.usd, 0.0, answer.unserved_frac, True, answer.is_priced)


def demand_shock(tables: Problem, base: Answer, *, factor: float) -> Shock:
    """Return what so much more demand than planned costs when it is known from the start."""
    shocked = replace(tables, demand_rps=tables.demand_rps * factor, peak_rps=tables.peak_rps * factor)
    return _replanned(shocked, f"demand times {factor:g}", base)


def _replanned(tables: Problem, name: str, base: Answer) -> Shock:
    asker = Asker(tables)
    answer = asker.ask()
    program = asker.program
    lost = answer.values[program.blocks["unserved"]] * program.demand_requests if np.isfinite(answer.usd) else program.demand_requests
    mtok = sum(tables.mtok(int(w), float(r)) for w, r in zip(program.demand_workload, lost, strict=True))
    return Shock(name, base.usd, answer.usd, mtok, answer.unserved_frac, True, answer.is_priced)


def _later(tables: Problem, months: int) -> str:
    return add_months(date.fromisoformat(tables.periods[0].start), months).isoformat()


def standard(tables: Problem, *, days: float = 30.0, asker: Asker | None = None) -> list[Shock]:
    """Return the usual table.

    Each cloud, seller of tokens and chip vendor out mid-way; the busiest chip short for 12 and 18 months, as far as the horizon
    goes, and its vendor's prices up by a fifth, or the largest seller's where no chips are held; chips that are still to come
    six months late, or the busiest one where none is; a third more demand.
    """
    asker = asker or Asker(tables)
    base = asker.ask()
    middle = len(tables.periods) // 2
    clouds = sorted({tables.pools[a.pool].cloud if a.pool >= 0 else tables.token_offers[a.offer].cloud for a in tables.arcs})
    vendors = sorted({tables.pools[a.pool].chip.vendor for a in tables.arcs if a.pool >= 0})
    found = [outage(asker, base, kind="cloud", name=c, period=middle, days=days) for c in clouds]
    found += [outage(asker, base, kind="vendor", name=v, period=middle, days=days) for v in vendors] if len(vendors) > 1 else []
    busiest = _busiest(asker, base)
    if busiest is not None:
        cloud, chip, vendor = busiest
        months = round(sum(p.hours for p in tables.periods) / HOURS_PER_MONTH)
        found += [deficit(tables, cloud=cloud, chip=chip, months=m, base=base) for m in sorted({min(m, months) for m in (12, 18)})]
        found.append(price_step(asker, base, kind="vendor", name=vendor, factor=1.2))
    elif clouds:
        largest = max(clouds, key=lambda c: _spend_usd(asker, base, c))
        found.append(price_step(asker, base, kind="cloud", name=largest, factor=1.2))
    for chip in _awaited(tables) or ([busiest[1]] if busiest is not None else []):
        found.append(slip(tables, chip=chip, months=6, base=base))
    found.append(demand_shock(tables, base, factor=1.3))
    return found


def _spend_usd(asker: Asker, base: Answer, cloud: str) -> float:
    labels, usd = asker.spend_of(supplier(asker.tables, "cloud", cloud))
    return float(usd @ base.values[labels])


def _busiest(asker: Asker, base: Answer) -> tuple[str, str, str] | None:
    tables, table = asker.tables, asker.program.spend
    usd = table.usd * base.values[table.label]
    chips = table.offer < len(tables.offers)
    if not chips.any():
        return None
    total = np.bincount(np.array(tables.pool_of, np.int64)[table.offer[chips]], usd[chips], minlength=len(tables.pools))
    if total.max(initial=0.0) <= 0:
        return None
    pool = tables.pools[int(np.argmax(total))]
    return pool.cloud, pool.chip.id, pool.chip.vendor


def _awaited(tables: Problem) -> list[str]:
    """Return chips on offer that are not yet there when the horizon begins."""
    late = {
        tables.pools[p].chip.id
        for o, p in enumerate(tables.pool_of)
        if not offer_opens(tables, o, 0) and any(offer_opens(tables, o, y) for y in range(len(tables.periods)))
    }
    return sorted(late)[:3]
