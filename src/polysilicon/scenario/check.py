"""Cross-checks: what the file says against itself. Each check returns every problem it finds, with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

from polysilicon.errors import InputError, did_you_mean
from polysilicon.scenario.calendar import add_months
from polysilicon.scenario.document import Loc
from polysilicon.scenario.schema import ContractPart, LengthsPart, Scenario, SloPart, TrafficPart

Place = Callable[[Loc], str]
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
NEEDS: dict[str, tuple[str, ...]] = {
    "committed_spend": ("commit_usd",),
    "reserved": ("chip", "chips", "usd_per_chip_hour"),
    "capacity_mw": ("it_mw", "chip", "scope"),
    "lease": ("usd_per_month",),
    "equity_linked": ("commit_usd", "equity_usd", "scope"),
}


def internal_problems(scenario: Scenario, place: Place) -> list[InputError]:
    """Return what contradicts itself in a scenario, wherever it stands."""
    out: list[InputError] = []
    out += _duplicates(scenario, place)
    out += _horizon(scenario, place)
    out += _files(scenario, place)
    for i, workload in enumerate(scenario.workloads):
        out += _traffic(workload.traffic, scenario, ("workloads", i, "traffic"), place)
        out += _slo(workload.slo, ("workloads", i, "slo"), place)
        if list(workload.context_tiers) != sorted(set(workload.context_tiers)):
            where = place(("workloads", i, "context_tiers"))
            out.append(InputError(f"workloads[{i}].context_tiers must rise: {', '.join(map(str, workload.context_tiers))}", where=where))
    for i, contract in enumerate(scenario.contracts):
        out += _contract(contract, scenario, ("contracts", i), place)
    for i, site in enumerate(scenario.sites):
        out += _ascending([day for day, _ in site.ramp_mw], ("sites", i, "ramp_mw"), place)
        if site.ppa and not site.it_mw:
            message = f"sites[{i}]: a power purchase agreement covers a share of it_mw, which is not stated"
            out.append(InputError(message, where=place(("sites", i, "ppa"))))
    out += _own_offers(scenario, place)
    out += _limits(scenario, place)
    out += _links(scenario, place)
    out += _training(scenario, place)
    return out


def _duplicates(scenario: Scenario, place: Place) -> Iterator[InputError]:
    groups: tuple[tuple[Loc, Sequence[str]], ...] = (
        (("workloads",), [w.id for w in scenario.workloads]),
        (("offers", "own"), [o.id for o in scenario.offers.own]),
        (("contracts",), [c.id for c in scenario.contracts]),
        (("sites",), [s.id for s in scenario.sites]),
        (("disaggregation", "links"), [link.id for link in (scenario.disaggregation.links if scenario.disaggregation else ())]),
        (("training",), [t.id for t in scenario.training]),
        (("ports",), [f"{p.model_family} on {p.chip_family}" for p in scenario.ports]),
    )
    for loc, names in groups:
        first: dict[str, int] = {}
        for i, name in enumerate(names):
            if name in first:
                where = place((*loc, i, "id")) if loc != ("ports",) else place((*loc, i))
                yield InputError(f'{loc[-1]}[{i}]: "{name}" is already the id of {loc[-1]}[{first[name]}]', where=where)
            first.setdefault(name, i)


def _files(scenario: Scenario, place: Place) -> Iterator[InputError]:
    """Yield the user's own tables and points that are not there; what is in them is read with the serving points."""
    named: list[tuple[Loc, str, str]] = [(("measured", i), f"measured[{i}]", name) for i, name in enumerate(scenario.measured)]
    if scenario.efficiency is not None:
        named.append((("efficiency",), "efficiency", scenario.efficiency))
    for loc, words, name in named:
        path = scenario.file_beside(name)
        if not path.is_file():
            yield InputError(f'{words}: "{name}" is not a file beside the scenario', where=place(loc), hint=f"looked for {path}")


def _horizon(scenario: Scenario, place: Place) -> Iterator[InputError]:
    horizon, step = scenario.horizon, _MONTHS[scenario.horizon.period]
    if horizon.start.day > 28:
        yield InputError(
            f"horizon.start: {horizon.start} is a day that not every month has",
            where=place(("horizon", "start")),
            hint="start on a day up to the 28th",
        )
    if horizon.months % step:
        below = horizon.months // step * step
        hint = f"{below} or {below + step}" if below else f"{step}, or a shorter period"
        message = f"horizon.months: {horizon.months} is not a whole number of periods of a {horizon.period} ({step} months)"
        yield InputError(message, where=place(("horizon", "months")), hint=hint)


def _traffic(traffic: TrafficPart, scenario: Scenario, loc: Loc, place: Place) -> Iterator[InputError]:
    where, words = place(loc), f"workloads[{loc[1]}].traffic"
    lengths = traffic.lengths
    complete = all(_side(lengths, s) for s in ("isl", "osl"))
    if traffic.profile and traffic.trace:
        yield InputError(f"{words}: profile and trace are both given; which is it?", where=place((*loc, "trace")))
    if not traffic.profile and not traffic.trace and not complete:
        hint = "give profile, trace, or lengths with isl_mean_tokens and osl_mean_tokens (or p50 and p99)"
        yield InputError(f"{words}: nothing says how long its requests are", where=where, hint=hint)
    if traffic.trace and not scenario.file_beside(traffic.trace).is_file():
        message = f'{words}.trace: "{traffic.trace}" is not a file beside the scenario'
        yield InputError(message, where=place((*loc, "trace")), hint=f"looked for {scenario.file_beside(traffic.trace)}")
    if traffic.hourly is not None and sum(traffic.hourly) <= 0:
        yield InputError(f"{words}.hourly: all 24 hours are zero", where=place((*loc, "hourly")))
    if traffic.hourly is not None and traffic.peak_to_mean_ratio is not None:
        yield InputError(f"{words}: hourly already says the peak; leave out peak_to_mean_ratio", where=place((*loc, "peak_to_mean_ratio")))
    if traffic.peak_to_mean_ratio is not None and traffic.peak_to_mean_ratio > 24:
        message = f"{words}.peak_to_mean_ratio: {traffic.peak_to_mean_ratio:g} is more than one hour of 24 can hold"
        yield InputError(message, where=place((*loc, "peak_to_mean_ratio")))
    yield from _lengths(lengths, (*loc, "lengths"), place)


def _side(lengths: LengthsPart, side: str) -> bool:
    return getattr(lengths, f"{side}_mean_tokens") is not None or getattr(lengths, f"{side}_p50_tokens") is not None


def _lengths(lengths: LengthsPart, loc: Loc, place: Place) -> Iterator[InputError]:
    words = f"workloads[{loc[1]}].traffic.lengths"
    for side in ("isl", "osl"):
        mean, p50, p99 = (getattr(lengths, f"{side}_{q}_tokens") for q in ("mean", "p50", "p99"))
        if (p50 is None) != (p99 is None) and mean is None:
            yield InputError(f"{words}: {side}_p50_tokens and {side}_p99_tokens go together", where=place(loc))
        if p50 is not None and p99 is not None and p99 < p50:
            yield InputError(
                f"{words}: {side}_p99_tokens {p99:g} is below {side}_p50_tokens {p50:g}",
                where=place((*loc, f"{side}_p99_tokens")),
            )
        if mean is not None and p99 is not None and mean > p99:
            yield InputError(
                f"{words}: {side}_mean_tokens {mean:g} is above {side}_p99_tokens {p99:g}",
                where=place((*loc, f"{side}_mean_tokens")),
            )


def _slo(slo: SloPart, loc: Loc, place: Place) -> Iterator[InputError]:
    words = f"workloads[{loc[1]}].slo"
    latencies = [v for v in (slo.ttft_s, slo.tpot_s, slo.e2e_s) if v is not None]
    if not latencies and slo.deadline_s is None:
        hint = "give ttft_s and tpot_s for people who wait, or deadline_s for work that can"
        yield InputError(f"{words}: nothing is promised", where=place(loc), hint=hint)
    if latencies and slo.deadline_s is not None:
        yield InputError(
            f"{words}: deadline_s is for work that may wait; it cannot promise latencies as well",
            where=place((*loc, "deadline_s")),
        )
    if slo.e2e_s is not None and slo.ttft_s is not None and slo.e2e_s <= slo.ttft_s:
        yield InputError(f"{words}: e2e_s {slo.e2e_s:g} is not above ttft_s {slo.ttft_s:g}", where=place((*loc, "e2e_s")))
    if slo.ttft_s is not None and slo.ttft_s > 600:
        message = f"{words}.ttft_s: {slo.ttft_s:g} s is more than ten minutes to the first token"
        yield InputError(message, where=place((*loc, "ttft_s")), hint=f"if you meant milliseconds, write {slo.ttft_s / 1000:g}")
    if slo.tpot_s is not None and slo.tpot_s > 5:
        message = f"{words}.tpot_s: {slo.tpot_s:g} s for each token is slower than anyone reads"
        yield InputError(message, where=place((*loc, "tpot_s")), hint=f"if you meant milliseconds, write {slo.tpot_s / 1000:g}")


def _contract(contract: ContractPart, scenario: Scenario, loc: Loc, place: Place) -> Iterator[InputError]:
    words = f"contracts[{loc[1]}]"
    first, last = scenario.horizon.start, add_months(scenario.horizon.start, scenario.horizon.months)
    if contract.end <= contract.start:
        yield InputError(f"{words}: ends {contract.end} but starts {contract.start}", where=place((*loc, "end")))
    elif contract.end <= first or contract.start >= last:
        message = f"{words}: runs {contract.start} to {contract.end}, all outside the horizon {first} to {last}"
        yield InputError(message, where=place((*loc, "start")))
    if contract.option and contract.signed:
        message = f'{words}: option "{contract.option}" is a right, and signed terms are none'
        yield InputError(message, where=place((*loc, "option")), hint="add `signed: false`")
    for name in NEEDS[contract.kind]:
        if getattr(contract, name) is None:
            hint = 'say what it covers: scope: {models: ["*"], regions: ["*"]}' if name == "scope" else ""
            yield InputError(f"{words}: a {contract.kind} contract needs {name}", where=place(loc), hint=hint)
    yield from _ascending([draw.by for draw in contract.draw_schedule], (*loc, "draw_schedule"), place)
    yield from _ascending([day for day, _ in contract.ramp_mw], (*loc, "ramp_mw"), place)
    yield from _draws(contract, loc, place)
    seen = [tier.from_usd for tier in contract.discount_tiers]
    if seen != sorted(set(seen)):
        yield InputError(f"{words}.discount_tiers: from_usd must rise from tier to tier", where=place((*loc, "discount_tiers")))


def _draws(contract: ContractPart, loc: Loc, place: Place) -> Iterator[InputError]:
    words, before = f"contracts[{loc[1]}].draw_schedule", 0.0
    for i, draw in enumerate(contract.draw_schedule):
        where = place((*loc, "draw_schedule", i))
        if draw.cumulative_usd < before:
            yield InputError(f"{words}[{i}]: cumulative_usd falls from {before:,.0f} to {draw.cumulative_usd:,.0f}", where=where)
        if contract.commit_usd is not None and draw.cumulative_usd > contract.commit_usd * (1 + 1e-9):
            yield InputError(f"{words}[{i}]: {draw.cumulative_usd:,.0f} is more than commit_usd {contract.commit_usd:,.0f}", where=where)
        if not contract.start <= draw.by <= contract.end:
            yield InputError(f"{words}[{i}]: {draw.by} is outside the contract, {contract.start} to {contract.end}", where=where)
        before = draw.cumulative_usd


def _ascending(days: Iterable[date], loc: Loc, place: Place) -> Iterator[InputError]:
    listed = list(days)
    for i in range(1, len(listed)):
        if listed[i] <= listed[i - 1]:
            yield InputError(f"{loc[0]}[{loc[1]}].{loc[2]}[{i}]: {listed[i]} is not after {listed[i - 1]}", where=place((*loc, i)))


def _own_offers(scenario: Scenario, place: Place) -> Iterator[InputError]:
    last = add_months(scenario.horizon.start, scenario.horizon.months)
    for i, own in enumerate(scenario.offers.own):
        loc: Loc = ("offers", "own", i)
        if own.available_from is not None and own.available_from >= last:
            message = f"offers.own[{i}]: available from {own.available_from}, after the horizon ends on {last}"
            yield InputError(message, where=place((*loc, "available_from")))
        if own.lead_time_months is not None and own.lead_time_months >= scenario.horizon.months:
            lead, months = own.lead_time_months, scenario.horizon.months
            message = f"offers.own[{i}]: its lead time of {lead:g} months outlasts the horizon of {months}"
            yield InputError(message, where=place((*loc, "lead_time_months")))
        if own.kind == "per_token" and own.usd_per_chip_hour is not None:
            yield InputError(f"offers.own[{i}]: a per_token offer has no usd_per_chip_hour", where=place((*loc, "usd_per_chip_hour")))
    for i, port in enumerate(scenario.ports):
        if port.lead_months is not None and port.lead_months >= scenario.horizon.months:
            message = f"ports[{i}]: its lead time of {port.lead_months:g} months outlasts the horizon of {scenario.horizon.months}"
            yield InputError(message, where=place(("ports", i, "lead_months")))


def _limits(scenario: Scenario, place: Place) -> Iterator[InputError]:
    limits, horizon = scenario.limits, scenario.horizon
    first, last = horizon.start.year, add_months(horizon.start, horizon.months).year
    for i, (year, _) in enumerate(limits.budget_usd_per_year):
        if not first <= year <= last:
            where = place(("limits", "budget_usd_per_year", i))
            yield InputError(f"limits.budget_usd_per_year[{i}]: {year} is outside the horizon ({first} to {last})", where=where)
    low, high = limits.utilisation_min_frac, limits.utilisation_max_frac
    if low is not None and low > high:
        where = place(("limits", "utilisation_min_frac"))
        yield InputError(f"limits: utilisation_min_frac {low:g} is above utilisation_max_frac {high:g}", where=where)
    kinds = [part.kind for part in limits.survive_loss_of]
    for i, kind in enumerate(kinds):
        if kind in kinds[:i]:
            yield InputError(f"limits.survive_loss_of[{i}]: {kind} is listed twice", where=place(("limits", "survive_loss_of", i)))


def _links(scenario: Scenario, place: Place) -> Iterator[InputError]:
    """Refuse links for workloads that are not there, or that promise no latency to keep."""
    part = scenario.disaggregation
    known = {w.id: w for w in scenario.workloads}
    for i, name in enumerate(part.workloads if part is not None else ()):
        where = place(("disaggregation", "workloads", i))
        if name not in known:
            yield InputError(f'disaggregation.workloads[{i}]: "{name}" is no workload of this scenario', where=where, hint=did_you_mean(name, known))
        elif known[name].slo.deadline_s is not None:
            yield InputError(f'disaggregation.workloads[{i}]: "{name}" has a deadline and no latency; it is served whole', where=where)


def _training(scenario: Scenario, place: Place) -> Iterator[InputError]:
    first, last = scenario.horizon.start, add_months(scenario.horizon.start, scenario.horizon.months)
    for i, part in enumerate(scenario.training):
        where = place(("training", i, "end"))
        if part.end <= part.start:
            yield InputError(f"training[{i}]: it ends on {part.end}, not after it starts ({part.start})", where=where)
        elif part.end <= first or part.start >= last:
            yield InputError(f"training[{i}]: {part.start} to {part.end} lies outside the horizon ({first} to {last})", where=where)
