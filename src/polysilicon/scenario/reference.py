"""Cross-checks against the catalogue: every name must exist, and every workload must have somewhere to run."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from polysilicon.catalogue import Catalogue
from polysilicon.cloud.offer import Offer
from polysilicon.errors import InputError, did_you_mean
from polysilicon.scenario.check import Place
from polysilicon.scenario.document import Loc
from polysilicon.scenario.models import model_of
from polysilicon.scenario.offers import Selection, chip_word_problem, fits, region_word_problem, unknown_cloud
from polysilicon.scenario.schema import ContractPart, Scenario, ScopePart, WorkloadPart


def reference_problems(scenario: Scenario, catalogue: Catalogue, selection: Selection, place: Place) -> list[InputError]:
    """Return every name that is not known and every workload that nothing may serve."""
    out: list[InputError] = []
    for i, fact in enumerate(scenario.facts):
        try:
            catalogue.chip(fact.chip)
        except InputError as error:
            out.append(InputError(f"facts[{i}].chip: {error.message}", where=place(("facts", i, "chip")), hint=error.hint))
    out += _models(scenario, catalogue, place)
    out += _ports(scenario, catalogue, place)
    clouds = {o.cloud for o in selection.offers} | {o.cloud for o in catalogue.offers.values()} | {o.cloud for o in scenario.offers.own if o.cloud}
    for i, workload in enumerate(scenario.workloads):
        pins = list(_pins(workload, catalogue, selection, ("workloads", i), place, clouds=clouds))
        out += pins
        if not pins and selection.offers:
            out += _servable(workload, catalogue, selection, ("workloads", i), place)
    out += _contracts(scenario, catalogue, selection, place, clouds)
    out += _sites(scenario, selection, place, clouds)
    return out


def _models(scenario: Scenario, catalogue: Catalogue, place: Place) -> Iterator[InputError]:
    for i, workload in enumerate(scenario.workloads):
        try:
            model_of(workload, scenario, catalogue)
        except InputError as error:
            inside = f" ({error.where})" if error.where and error.where.endswith(".json") else ""
            yield InputError(f"workloads[{i}].model: {error.message}{inside}", where=place(("workloads", i, "model")), hint=error.hint)


def _ports(scenario: Scenario, catalogue: Catalogue, place: Place) -> Iterator[InputError]:
    chip_families = {c.family for c in catalogue.chips.values()}
    own_families = {_family(w, scenario, catalogue) for w in scenario.workloads}
    families = {m.family for m in catalogue.models.values()} | {p.model_family for p in catalogue.ports} | own_families
    for i, port in enumerate(scenario.ports):
        for key, name, known in (("model_family", port.model_family, families), ("chip_family", port.chip_family, chip_families)):
            if name not in known:
                where = place(("ports", i, key))
                hint = did_you_mean(name, known) or f"known: {', '.join(sorted(k for k in known if k)[:12])}"
                yield InputError(f'ports[{i}].{key}: "{name}" is not in the catalogue', where=where, hint=hint)


def _family(workload: WorkloadPart, scenario: Scenario, catalogue: Catalogue) -> str:
    try:
        return model_of(workload, scenario, catalogue).family
    except InputError:
        return ""


def _pins(workload: WorkloadPart, catalogue: Catalogue, selection: Selection, loc: Loc, place: Place, *, clouds: set[str]) -> Iterator[InputError]:
    words = f"workloads[{loc[1]}]"
    regions = {o.region for o in selection.offers}
    for i, region in enumerate(workload.regions):
        problem = region_word_problem(region, regions, where=place((*loc, "regions", i)), what=f"{words}.regions[{i}]")
        if problem and selection.offers:
            yield problem
    for i, cloud in enumerate(workload.clouds):
        problem = unknown_cloud(cloud, clouds, where=place((*loc, "clouds", i)), what=f"{words}.clouds[{i}]")
        if problem:
            yield problem
    for i, chip in enumerate(workload.chips):
        problem = chip_word_problem(chip, catalogue, where=place((*loc, "chips", i)), what=f"{words}.chips[{i}]")
        if problem:
            yield problem


def _servable(workload: WorkloadPart, catalogue: Catalogue, selection: Selection, loc: Loc, place: Place) -> Iterator[InputError]:
    """Say which pin leaves a workload without any offer."""
    pins = {"regions": workload.regions, "clouds": workload.clouds, "chips": workload.chips, "tags": workload.tags}
    candidates = [o for o in selection.offers if o.kind != "per_token" or o.model == workload.model]
    verdicts = [(offer, fits(offer, pins, catalogue)) for offer in candidates]
    if any(all(verdict.values()) for _, verdict in verdicts):
        return
    counts = {name: sum(verdict[name] for _, verdict in verdicts) for name, values in pins.items() if values}
    alone = ", ".join(f"{name} {list(pins[name])} leave {count}" for name, count in counts.items())
    message = f'workloads[{loc[1]}]: nothing may serve "{workload.id}": of {len(candidates)} offers, {alone or "none is for its model"}'
    together = " and none passes all of them" if len(counts) > 1 else ""
    yield InputError(message + together, where=place((*loc, "id")), hint="loosen a pin, or let more offers in under offers")


def _contracts(scenario: Scenario, catalogue: Catalogue, selection: Selection, place: Place, clouds: set[str]) -> Iterator[InputError]:
    for i, contract in enumerate(scenario.contracts):
        words, loc = f"contracts[{i}]", ("contracts", i)
        problem = unknown_cloud(contract.cloud, clouds, where=place((*loc, "cloud")), what=f"{words}.cloud")
        if problem:
            yield problem
        if contract.chip:
            try:
                catalogue.chip(contract.chip)
            except InputError as error:
                yield InputError(f"{words}.chip: {error.message}", where=place((*loc, "chip")), hint=error.hint)
        for j, pattern in enumerate(contract.eligible):
            if selection.offers and not any(fnmatchcase(o.id, pattern) for o in selection.offers):
                hint = did_you_mean(pattern, [o.id for o in selection.offers])
                yield InputError(f'{words}.eligible[{j}]: no offer fits "{pattern}"', where=place((*loc, "eligible", j)), hint=hint)
        if contract.scope is not None:
            yield from _scope(contract, contract.scope, scenario, selection, (*loc, "scope"), place)


def _scope(contract: ContractPart, scope: ScopePart, scenario: Scenario, selection: Selection, loc: Loc, place: Place) -> Iterator[InputError]:
    words = f"contracts[{loc[1]}].scope"
    models = {w.model for w in scenario.workloads}
    for j, model in enumerate(scope.models):
        if not any(fnmatchcase(name, model) for name in models):
            where = place((*loc, "models", j))
            yield InputError(f'{words}.models[{j}]: no workload uses "{model}"', where=where, hint=did_you_mean(model, models))
    regions = _regions(selection.offers, contract.cloud)
    for j, region in enumerate(scope.regions):
        problem = region_word_problem(region, regions, where=place((*loc, "regions", j)), what=f"{words}.regions[{j}]")
        if problem and selection.offers:
            yield problem


def _regions(offers: tuple[Offer, ...], cloud: str) -> set[str]:
    return {o.region for o in offers if o.cloud == cloud}


def _sites(scenario: Scenario, selection: Selection, place: Place, clouds: set[str]) -> Iterator[InputError]:
    seen: dict[tuple[str, str], int] = {}
    for i, site in enumerate(scenario.sites):
        problem = unknown_cloud(site.cloud, clouds, where=place(("sites", i, "cloud")), what=f"sites[{i}].cloud")
        if problem:
            yield problem
            continue
        regions = _regions(selection.offers, site.cloud)
        if selection.offers and site.region not in regions:
            hint = did_you_mean(site.region, regions) or f"regions with offers: {', '.join(sorted(regions)) or 'none'}"
            message = f'sites[{i}].region: no offer of {site.cloud} is in "{site.region}"'
            yield InputError(message, where=place(("sites", i, "region")), hint=hint)
        key = (site.cloud, site.region)
        if key in seen:
            yield InputError(f"sites[{i}]: {site.cloud} {site.region} is already sites[{seen[key]}]", where=place(("sites", i, "region")))
        seen.setdefault(key, i)
