"""From a scenario and a catalogue to what the machines take: periods, workloads, offers, contracts, ports, sites."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from polysilicon.application.workload import Slo, Workload
from polysilicon.catalogue import Catalogue
from polysilicon.cloud.contract import Contract, DiscountTier
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.region import lies_in
from polysilicon.cloud.site import PowerPurchase, Site
from polysilicon.errors import InputError, InputErrors
from polysilicon.facts import Fact
from polysilicon.model.architecture import Model
from polysilicon.model.port import Port
from polysilicon.portfolio import Period
from polysilicon.scenario.calendar import F8, block_name, day_blocks, growth_factor, local_day, periods, utc_day
from polysilicon.scenario.check import Place, internal_problems
from polysilicon.scenario.document import Loc
from polysilicon.scenario.lengths import lengths_of
from polysilicon.scenario.models import model_of
from polysilicon.scenario.offers import Selection, chip_matches, select_offers
from polysilicon.scenario.reference import reference_problems
from polysilicon.scenario.schema import (
    ContractPart,
    DisaggregationPart,
    Horizon,
    LimitsPart,
    PortPart,
    Scenario,
    SitePart,
    StudyPart,
    TrainingPart,
    WorkloadPart,
)
from polysilicon.scenario.tiers import with_tiers
from polysilicon.silicon.chip import Chip, System


@dataclass(frozen=True, slots=True)
class Resolved:
    """A scenario with every name looked up and every default filled in."""

    scenario: Scenario
    periods: tuple[Period, ...]
    workloads: tuple[Workload, ...]
    offers: tuple[Offer, ...]
    contracts: tuple[Contract, ...]
    ports: tuple[Port, ...]
    sites: tuple[Site, ...]
    limits: LimitsPart
    horizon: Horizon
    study: StudyPart
    digest: str
    catalogue_digest: str = ""
    models: Mapping[str, Model] = field(default_factory=dict)  # by Workload.model
    chips: Mapping[str, Chip] = field(default_factory=dict)
    systems: Mapping[str, System] = field(default_factory=dict)
    demand_rps: Mapping[str, F8] = field(default_factory=dict)  # by workload: [period, block], mean over the block
    peak_rps: Mapping[str, F8] = field(default_factory=dict)  # by workload: [period, block], busiest hour of the block
    hours: tuple[tuple[int, ...], ...] = ()  # UTC hours of each block
    weekend: tuple[bool, ...] = ()  # of each block: false on working days
    notes: tuple[str, ...] = ()
    disaggregation: DisaggregationPart | None = None
    training: tuple[TrainingPart, ...] = ()  # `on` as chip ids

    def workload(self, name: str) -> Workload:
        """Return the workload of an id."""
        return next(w for w in self.workloads if w.id == name)


def resolve(scenario: Scenario, catalogue: Catalogue) -> Resolved:
    """Look every name of a scenario up and lay out its demand.

    Raises: InputErrors holding every problem; MissingFact where a chip or model lacks what is needed.
    """

    def place(loc: Loc) -> str:
        return scenario._file

    problems = problems_of(scenario, catalogue, place)
    if problems:
        raise InputErrors(problems)
    digest = digest_of(scenario)
    scenario = with_tiers(scenario)
    selection = select_offers(scenario, catalogue, place)
    models = {w.model: model_of(w, scenario, catalogue) for w in scenario.workloads}
    workloads = tuple(_workload(w, scenario, selection.offers, catalogue) for w in scenario.workloads)
    hours, weekend, demand, peak = _demand(scenario, workloads)
    return Resolved(
        scenario=scenario,
        periods=periods(scenario.horizon, _blocks(hours, weekend, demand, workloads)),
        workloads=workloads,
        offers=selection.offers,
        contracts=tuple(_contract(c, selection, catalogue) for c in scenario.contracts),
        ports=_ports(scenario.ports, catalogue),
        sites=_sites(scenario.sites),
        limits=scenario.limits,
        horizon=scenario.horizon,
        study=scenario.study,
        digest=digest,
        catalogue_digest=catalogue.digest,
        models=models,
        chips=_chips(scenario, catalogue),
        systems=catalogue.systems,
        demand_rps=demand,
        peak_rps=peak,
        hours=hours,
        weekend=weekend,
        notes=(*scenario.notes, *selection.notes),
        disaggregation=scenario.disaggregation,
        training=tuple(_training(part, catalogue) for part in scenario.training),
    )


def problems_of(scenario: Scenario, catalogue: Catalogue, place: Place) -> list[InputError]:
    """Return every problem of a well-formed scenario: with itself, then with the catalogue."""
    out = internal_problems(scenario, place)
    selection = select_offers(scenario, catalogue, place)
    out += selection.problems
    out += reference_problems(scenario, catalogue, selection, place)
    return out


def digest_of(scenario: Scenario) -> str:
    """Return a digest of everything the scenario says, wherever it lies."""
    text = json.dumps(scenario.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _workload(part: WorkloadPart, scenario: Scenario, offers: tuple[Offer, ...], catalogue: Catalogue) -> Workload:
    regions = sorted({o.region for o in offers if any(lies_in(o.region, r) for r in part.regions)})
    chips = sorted({o.chip for o in offers if o.chip and any(chip_matches(c, o.chip, catalogue) for c in part.chips)})
    lengths, peak = lengths_of(part.traffic, scenario), float(np.max(local_day(part)))
    traffic = part.traffic.model_dump(mode="json", exclude_none=True)
    if part.traffic.trace:
        traffic["path"] = str(scenario.file_beside(part.traffic.trace))
    return Workload(
        id=part.id, model=part.model, slo=Slo(**part.slo.model_dump()), lengths=lengths, mean_rps=part.traffic.mean_rps,
        peak_to_mean_ratio=peak, growth_per_year_frac=part.growth_per_year_frac, application=part.application,
        regions=tuple(regions), clouds=part.clouds, tags=part.tags, chips=tuple(chips), priority=part.priority, traffic=traffic,
        **part.price.model_dump(),
    )  # fmt: skip


def _demand(
    scenario: Scenario, workloads: tuple[Workload, ...]
) -> tuple[tuple[tuple[int, ...], ...], tuple[bool, ...], dict[str, F8], dict[str, F8]]:
    """Return the load blocks of a day (of a working day, then of a week-end day), and each workload's mean and peak in them.

    A working day carries 7 / (5 + 2 r) of the week's mean, a week-end day r times as much.
    """
    curves = np.array([utc_day(part) for part in scenario.workloads])
    weights = np.array([0.0 if w.slo.deferrable else w.mean_rps * w.lengths.osl_tokens for w in workloads])
    if not weights.any():
        weights = np.ones(len(workloads))
    hours = tuple(tuple(run) for run in day_blocks(curves, weights / weights.sum(), scenario.horizon.blocks))
    count = scenario.horizon.months // {"month": 1, "quarter": 3, "year": 12}[scenario.horizon.period]
    demand, peak = {}, {}
    ratios = [part.traffic.weekend_to_weekday_ratio for part in scenario.workloads]
    apart = any(r != 1.0 for r in ratios)
    for w, curve, ratio in zip(workloads, curves, ratios, strict=True):
        day = 7.0 / (5.0 + 2.0 * ratio) * np.array([1.0, ratio] if apart else [1.0])
        growth = np.array([growth_factor(scenario.horizon, i, w.growth_per_year_frac) for i in range(count)])[:, None]
        demand[w.id] = w.mean_rps * growth * np.outer(day, [curve[list(run)].mean() for run in hours]).ravel()[None, :]
        peak[w.id] = w.mean_rps * growth * np.outer(day, [curve[list(run)].max() for run in hours]).ravel()[None, :]
    weekend = (*[False] * len(hours), *([True] * len(hours) if apart else []))
    return (*hours, *(hours if apart else ())), weekend, demand, peak


def _blocks(
    hours: tuple[tuple[int, ...], ...], weekend: tuple[bool, ...], demand: Mapping[str, F8], workloads: tuple[Workload, ...]
) -> list[tuple[str, float, float]]:
    """Return (name, hours of a mean day, demand over the mean) of all workloads that cannot wait, weighed by output tokens."""
    urgent = [w for w in workloads if not w.slo.deferrable] or list(workloads)
    total = np.sum([demand[w.id][0] * w.lengths.osl_tokens for w in urgent], axis=0)
    share = np.where(weekend, 2.0 / 7.0, 5.0 / 7.0) if any(weekend) else np.ones(len(hours))
    spans = np.array([float(len(run)) for run in hours]) * share
    mean = float(total @ spans) / 24.0
    names = [block_name(run) + (" week-end" if off else "") for run, off in zip(hours, weekend, strict=True)]
    return [(name, float(span), float(load / mean)) for name, span, load in zip(names, spans, total, strict=True)]


_STATED = ("commit_usd", "it_mw", "usd_per_month", "chips", "usd_per_chip_hour", "exit_fee_usd", "equity_usd", "drawn_before_usd")


def _contract(part: ContractPart, selection: Selection, catalogue: Catalogue) -> Contract:
    values: dict[str, Any] = {name: value for name in _STATED if (value := getattr(part, name)) is not None}
    eligible = part.eligible
    if part.scope is not None and "*" not in part.scope.regions and not eligible:
        covered = [o for o in selection.offers if o.cloud == part.cloud and any(lies_in(o.region, r) for r in part.scope.regions)]
        eligible = tuple(o.id for o in covered)
    return Contract(
        id=part.id,
        cloud=part.cloud,
        kind=part.kind,
        start=part.start.isoformat(),
        end=part.end.isoformat(),
        take_or_pay_frac=part.take_or_pay_frac,
        rollover=part.rollover,
        draw_schedule=tuple((d.by.isoformat(), d.cumulative_usd) for d in part.draw_schedule),
        discount_tiers=tuple(DiscountTier(t.from_usd, t.discount_frac) for t in part.discount_tiers),
        eligible=eligible,
        ramp_mw=tuple((day.isoformat(), mw) for day, mw in part.ramp_mw),
        chip=catalogue.chip(part.chip).id if part.chip else "",
        signed=part.signed,
        exclusive=part.exclusive,
        option=part.option or "",
        source=part.source,
        **values,
    )


def _training(part: TrainingPart, catalogue: Catalogue) -> TrainingPart:
    """Return a training block with the ids of the chips it may run on."""
    return part.model_copy(update={"on": tuple(c for c in catalogue.chips if any(chip_matches(wanted, c, catalogue) for wanted in part.on))})


def _chips(scenario: Scenario, catalogue: Catalogue) -> dict[str, Chip]:
    """Return the catalogue's chips with the scenario's facts over them."""
    out = dict(catalogue.chips)
    for part in scenario.facts:
        chip = out[catalogue.chip(part.chip).id]
        unit = {"gb": "GB", "s": "GB/s", "w": "W"}.get(part.parameter.rsplit("_", 1)[-1], "")
        fact = Fact(chip.id, part.parameter, part.value, unit, part.source, "", "assumed", "stated by the scenario")
        value: Any = int(part.value) if part.parameter == "scale_up_chips" else part.value
        out[chip.id] = replace(chip, **{part.parameter: value}, facts={**chip.facts, part.parameter: fact})
    return out


def _ports(parts: tuple[PortPart, ...], catalogue: Catalogue) -> tuple[Port, ...]:
    """Return the catalogue's ports with the scenario's changes over them."""
    out = {(p.model_family, p.chip_family): p for p in catalogue.ports}
    best = {key: catalogue.port(*key) for key in out}  # several engines: the catalogue says which counts
    out = {key: port for key, port in best.items() if port is not None}
    for part in parts:
        changes = {k: v for k, v in part.model_dump().items() if v is not None and v != ""}
        key = (part.model_family, part.chip_family)
        if key in out:
            out[key] = replace(out[key], **changes, basis="assumed") if changes else out[key]
        else:
            out[key] = Port(**{"engine": "own", "status": "none", **changes})
    return tuple(out[key] for key in sorted(out))


def _sites(parts: tuple[SitePart, ...]) -> tuple[Site, ...]:
    out = []
    for part in parts:
        values = part.model_dump(exclude={"ramp_mw", "ppa"})
        bought = tuple(PowerPurchase(p.mw, p.usd_per_mwh, p.start.isoformat(), p.g_co2_per_kwh, p.source) for p in part.ppa)
        out.append(Site(**values, purchases=bought, ramp_mw=tuple((day.isoformat(), mw) for day, mw in part.ramp_mw)))
    return tuple(out)
