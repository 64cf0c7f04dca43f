"""From a solution to a plan: holdings, placements with their reasons, bills, prices, assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np

from polysilicon.application.workload import Pins
from polysilicon.planner import ports as engines
from polysilicon.planner import training
from polysilicon.planner.holdings import RELOAD_HOURS
from polysilicon.planner.money import IDLE_POWER_FRAC
from polysilicon.planner.prices import shadow_prices
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution
from polysilicon.planner.usage import bills, by_period_usd, recomputed_usd, taken
from polysilicon.planner.why import margins, why
from polysilicon.portfolio import Assumption, ContractBill, DecodeSide, Holding, Placement, Plan, TrainingBlock
from polysilicon.units import HOURS_PER_MONTH

LITTLE = 1e-6


def plan_of(program: Program, solution: Solution, *, seconds: Mapping[str, float], notes: tuple[str, ...] = ()) -> Plan:
    """Return the plan that a solution stands for.

    `objective_usd` is recomputed from the bills, so that it is what the contracts say and not what the solver added up.
    """
    tables = program.tables
    invoices = bills(program, solution.values)
    outside = by_period_usd(program, solution.values)
    objective = recomputed_usd(program, solution)
    drift = abs(objective - solution.objective_usd)
    chosen = taken(program, solution.values)
    extra = list(notes)
    if drift > 0.005 + 1e-9 * abs(objective):
        extra.append(f"the solver's total differs from the bills by {drift:,.2f} $ ({drift / max(abs(objective), 1):.1e}); the bills count")
    extra += [f"contract {name} is taken" for name in chosen]
    placements = _placements(program, solution)
    used = {(p.workload, p.chip) for p in placements if p.decode is None}
    apart = {(p.workload, chip, phase) for p in placements if p.decode for chip, phase in ((p.chip, "prefill"), (p.decode.chip, "decode"))}
    return Plan(
        scenario=tables.name,
        scenario_digest=tables.scenario_digest,
        catalogue_digest=tables.catalogue_digest,
        status=solution.status,
        gap_frac=float(solution.gap_frac),
        bound_usd=float(min(solution.bound_usd, objective)),
        objective_usd=objective,
        bill_usd=invoices.total_usd,
        energy_usd=float(outside["energy"].sum()),
        port_usd=float(outside["port"].sum()),
        unserved_usd=float(outside["unserved"].sum()),
        periods=tables.periods,
        holdings=_holdings(program, solution),
        placements=placements,
        contracts=tuple(
            ContractBill(
                line.contract,
                line.period,
                line.eligible_usd,
                line.drawdown_usd,
                line.shortfall_usd,
                line.overage_usd,
                line.fixed_usd - line.rebate_usd - line.equity_usd,
                line.total_usd,
            )
            for bill in invoices.bills
            for line in bill.lines
        ),
        serving=tuple(point for key, point in tables.table.items() if key in used),
        ports=_ports(program, solution),
        shadow_prices=shadow_prices(program, solution),
        assumptions=_assumptions(program, solution),
        utilisation_max_frac=tables.limits.utilisation_max_frac,
        pins={w.id: w.pins for w in tables.workloads if w.pins != Pins()},
        models={w.id: w.model for w in tables.workloads},
        headroom_frac=dict(tables.headroom_frac),
        notes=(*tables.notes, *extra),
        seconds=dict(seconds),
        training=_training(program, solution),
        phase_serving=tuple(point for key, point in tables.phases.items() if key in apart),
    )


def unserved_frac(program: Program, solution: Solution) -> F8:
    """Return the unserved share of each demand row."""
    return np.asarray(solution.values[program.blocks["unserved"]])


def _holdings(program: Program, solution: Solution) -> tuple[Holding, ...]:
    tables, values, unit = program.tables, solution.values, program.chip_unit
    found: list[Holding] = []
    hours, peak = np.zeros((len(tables.offers), len(tables.periods))), np.zeros((len(tables.offers), len(tables.periods)))
    for o, t, label in zip(program.rent_offer, program.rent_slot, program.blocks["rent"], strict=True):
        y = tables.slot_period[t]
        hours[o, y] += values[label] * unit * tables.slot_hours[t]
        peak[o, y] = max(peak[o, y], values[label] * unit)
    for o, y, label in zip(program.hold_offer, program.hold_period, program.blocks["hold"], strict=True):
        hours[o, y] += values[label] * unit * program.period_hours[y]
        peak[o, y] = max(peak[o, y], values[label] * unit)
    for o, y in zip(*np.nonzero(peak > LITTLE), strict=True):
        offer, price = tables.offers[o], tables.offers[o].usd_per_chip_hour or 0.0
        cover = int(program.contract_of[o, y])
        found.append(
            Holding(
                int(y),
                offer.id,
                offer.cloud,
                offer.region,
                offer.chip,
                offer.kind,
                float(hours[o, y] / program.period_hours[y]),
                float(peak[o, y]),
                price,
                float(hours[o, y] * price),
                tables.contracts[cover].id if cover >= 0 else "",
            )
        )
    for c, p, y, label in zip(program.given_contract, program.given_pool, program.given_period, program.blocks["given"], strict=True):
        if values[label] * unit > LITTLE:
            contract, pool = tables.contracts[c], tables.pools[p]
            chips = float(values[label] * unit)
            found.append(
                Holding(
                    int(y),
                    contract.id,
                    pool.cloud,
                    pool.region,
                    pool.chip.id,
                    contract.kind,
                    chips,
                    chips,
                    contract.usd_per_chip_hour or 0.0,
                    contract.fixed_usd(tables.calendar[y]),
                    contract.id,
                )
            )
    return tuple(sorted(found, key=lambda h: (h.period, -h.bill_usd, h.offer)))


def _placements(program: Program, solution: Solution) -> tuple[Placement, ...]:
    tables, flows, share = program.tables, program.flows, solution.values[program.flows.label]
    worth = margins(program, solution)
    groups: dict[tuple[int, int, int, int, int, int], list[int]] = {}
    for i in np.flatnonzero(share > LITTLE):
        arc = tables.arcs[flows.arc[i]]
        other = (-1, -1) if arc.decode is None else (arc.decode.pool, arc.decode.link)
        groups.setdefault((int(flows.period[i]), arc.workload, arc.pool, arc.offer if arc.pool < 0 else -1, *other), []).append(int(i))
    totals = {(key[1], key[0]): tables.requests(key[1], key[0]) for key in groups}
    rate = _average_rate(program, solution)
    found = []
    for (y, w, p, o, q, _), members in groups.items():
        j = np.array(members, np.int64)
        requests = float((share[j] * program.demand_requests[flows.row[j]]).sum())
        busy = share[j] * flows.chips[j] * program.chip_unit
        mean = float((busy * flows.mean_frac[j] * flows.hours[j]).sum() / program.period_hours[y])
        by_slot = np.bincount(flows.slot[j], busy, minlength=tables.slots)
        chip_hours = float((busy * flows.mean_frac[j] * flows.hours[j]).sum())
        arc = tables.arcs[flows.arc[j[0]]]
        usd = requests * arc.usd_per_request if p < 0 else chip_hours * rate.get((p, y), 0.0)
        second = _decode_side(program, solution, j, requests) if q >= 0 else None
        if second is not None:
            usd += second.chips * float(program.period_hours[y]) * rate.get((q, y), 0.0) + second.transfer_usd
        work = tables.workloads[w]
        mtok_out = requests * work.lengths.osl_tokens / 1e6
        stage = "production" if arc.max_share_frac >= 1.0 else "pilot"
        name, cloud, region, chip = _place(program, p, o)
        found.append(
            Placement(
                y,
                work.id,
                name if second is None else f"{name}>{second.pool}",
                chip,
                cloud,
                region,
                requests / totals[w, y],
                mean,
                float(by_slot.max()),
                tables.mtok(w, requests),
                usd,
                usd / mtok_out if mtok_out > 0 else 0.0,
                arc.engine,
                stage,
                why(program, solution, worth, members=members),
                second,
            )
        )
    return tuple(sorted(found, key=lambda q: (q.period, q.workload, -q.share_frac, q.pool)))


def _training(program: Program, solution: Solution) -> tuple[TrainingBlock, ...]:
    tables, rate = program.tables, _average_rate(program, solution)
    found = []
    for r, p, y, chips in training.chips(program, solution.values):
        pool, usd = tables.pools[p], chips * float(program.period_hours[y]) * rate.get((p, y), 0.0)
        found.append(TrainingBlock(y, tables.training[r].id, pool.id, pool.chip.id, pool.cloud, pool.region, chips, usd))
    return tuple(sorted(found, key=lambda b: (b.period, b.run, b.pool)))


def _decode_side(program: Program, solution: Solution, j: I8, requests: float) -> DecodeSide:
    """Return where the flows `j`, those of one workload, pair of pools and period, are decoded."""
    tables, flows = program.tables, program.flows
    arc = tables.arcs[flows.arc[j[0]]]
    seat = arc.decode
    if seat is None:
        raise ValueError("these flows decode where they prefill")
    pool = tables.pools[seat.pool]
    share = solution.values[flows.label[j]]
    busy = share * flows.decode_chips[j] * program.chip_unit
    rate = share * tables.peak_rps[arc.workload, flows.slot[j]] * seat.gb_per_request
    return DecodeSide(
        pool.id,
        pool.chip.id,
        pool.cloud,
        pool.region,
        float((busy * flows.mean_frac[j] * flows.hours[j]).sum() / program.period_hours[flows.period[j[0]]]),
        float(np.bincount(flows.slot[j], busy, minlength=tables.slots).max()),
        tables.links[seat.link].id,
        float(np.bincount(flows.slot[j], rate, minlength=tables.slots).max()),
        requests * arc.usd_per_request,
        requests * tables.workloads[arc.workload].lengths.osl_tokens / 1e6,
        seat.engine,
        "production" if seat.max_share_frac >= 1.0 else "pilot",
    )


def _place(program: Program, p: int, o: int) -> tuple[str, str, str, str]:
    """Return name, cloud, region and chip of a pool, or of a per-token offer."""
    if p >= 0:
        pool = program.tables.pools[p]
        return pool.id, pool.cloud, pool.region, pool.chip.id
    offer = program.tables.token_offers[o]
    return offer.id, offer.cloud, offer.region, ""


def _average_rate(program: Program, solution: Solution) -> dict[tuple[int, int], float]:
    """Return dollars per busy chip-hour of each pool and period: what its chips cost, idle hours included."""
    tables, flows, values = program.tables, program.flows, solution.values
    periods = len(tables.periods)
    shape = len(tables.pools) * periods
    paid, busy = np.zeros(shape), np.zeros(shape)
    pool_of = np.array([*tables.pool_of, *[-1] * len(tables.token_offers)], np.int64)
    if len(program.spend.offer):
        pool = pool_of[program.spend.offer]
        on = pool >= 0
        paid += np.bincount(
            pool[on] * periods + program.spend.period[on],
            program.spend.usd[on] * values[program.spend.label[on]],
            minlength=shape,
        )
    for c, p, y, label in zip(program.given_contract, program.given_pool, program.given_period, program.blocks["given"], strict=True):
        contract = tables.contracts[c]
        paid[p * periods + y] += values[label] * program.chip_unit * tables.calendar[y].hours * (contract.usd_per_chip_hour or 0.0)
    flow, seat, chips = flows.seats()
    used = values[flows.label[flow]] * chips * flows.mean_frac[flow] * flows.hours[flow] * program.chip_unit
    busy += np.bincount(seat * periods + flows.period[flow], used, minlength=shape)
    for _, p, y, held in training.chips(program, values):
        busy[p * periods + y] += held * float(program.period_hours[y])
    return {(int(k // periods), int(k % periods)): float(paid[k] / busy[k]) for k in np.flatnonzero(busy > 0)}


def _ports(program: Program, solution: Solution) -> tuple[Mapping[str, str | float], ...]:
    tables = program.tables
    return tuple(
        {
            "model_family": c.port.model_family,
            "chip_family": c.port.chip_family,
            "engine": c.port.engine,
            "start": tables.periods[c.start].start,
            "live": tables.periods[c.live].start,
            "usd": c.cost_usd,
            "upkeep_usd_per_year": c.upkeep_usd_per_year,
            **{f"gate_{stage}": day for stage, day in engines.timeline(c, date.fromisoformat(tables.periods[0].start))},
            "start_period": float(c.start),
            "live_period": float(c.live),
        }
        for c, label in zip(tables.candidates, program.blocks["port"], strict=True)
        if solution.values[label] > 0.5
    )


def _assumptions(program: Program, solution: Solution) -> tuple[Assumption, ...]:
    tables = program.tables
    found = [
        Assumption(
            "utilisation",
            f"at most {tables.limits.utilisation_max_frac:.0%} of a pool is busy at peak",
            "assumed",
            "scenario limits",
        )
    ]
    found += [
        Assumption(f"training {run} on {offer}", f"{share:.1%} of its time makes progress between interruptions", "assumed", "planner")
        for run, offer, share in training.spot_runs(program, solution.values)
    ]
    if any(o.interruptions_per_hour > 0 for o in tables.offers):
        found.append(Assumption("spot", f"an interruption costs {RELOAD_HOURS * 60:.0f} minutes of a chip", "assumed", "planner"))
    if program.energy:
        found.append(Assumption("idle power", f"{IDLE_POWER_FRAC:.0%} of all-in power", "assumed", "planner"))
    for label, candidate in zip(program.blocks["port"], tables.candidates, strict=True):
        if solution.values[label] > 0.5:
            port = candidate.port
            words = f"{candidate.cost_usd / 1e6:,.1f} M$, live after {port.lead_months:g} months"
            words += f", {port.efficiency_frac:.0%} of the prediction when mature"
            found.append(Assumption(f"port of {port.model_family} to {port.chip_family}", words, port.basis, port.source, port.as_of))
            if port.cost_usd is None:
                found.append(Assumption("engineer-month", f"{engines.USD_PER_ENGINEER_MONTH:,.0f} $", "assumed", "planner"))
    horizon = sum(p.hours for p in tables.periods) / HOURS_PER_MONTH
    longer = [tables.offers[o].id for o in sorted({int(k) for k in program.hold_offer}) if tables.offers[o].min_term_months > horizon + 0.5]
    found += [Assumption(name, "its term runs on after the horizon; only the horizon is billed", "assumed", "planner") for name in longer]
    return tuple(found)
