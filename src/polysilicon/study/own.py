"""What a scenario's author measured: the efficiency table and the points that it names, for the models and chips it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from polysilicon.catalogue.freshness import STALE_DAYS
from polysilicon.catalogue.schema import parse_date
from polysilicon.errors import InputError
from polysilicon.exchange import cases, results
from polysilicon.performance.measured import Observation, Own
from polysilicon.scenario import Resolved, catalogue_for


def own_of(resolved: Resolved) -> tuple[Own, tuple[str, ...]]:
    """Return a scenario's own efficiencies and measurements, and a sentence on each file's use.

    A model that the scenario alone knows (its config.json) is named in the points as the scenario names it.

    Raises: InputError where a file cannot be read, or none of its points can stand for a measurement.
    """
    scenario = resolved.scenario
    path = str(scenario.file_beside(scenario.efficiency)) if scenario.efficiency else ""
    if not scenario.measured:
        return Own(path), ()
    known = catalogue_for(scenario)
    ours = {**{m.id: m for m in resolved.models.values()}, **resolved.models}
    served = {m.id for m in resolved.models.values()}
    seen, notes = [], []
    for name in scenario.measured:
        file = scenario.file_beside(name)
        points = results.read(file)
        found, refused = cases.observations(points, known, models=ours)
        if not found:
            why = "; ".join(refused) or "no TPOT at a number of concurrent requests"
            raise InputError(
                f"none of its {len(points)} points can stand for a measurement: {why}", where=str(file),
                hint="a TPOT (and TTFT) at a number of concurrent requests is needed, with model, chip, chips, ISL and OSL",
            )  # fmt: skip
        mine = [replace(o, source=f"{name}: {o.source}" if o.source else name) for o in found if o.model in served]
        seen += mine
        words = f"{name}: {len(mine)} of {len(found)} measured configurations are of models planned here"
        old = old_measurements(mine)
        notes.append("; ".join([words, *([old] if old else []), *(f"{n} points not used: {why}" for why, n in refused.items())]))
    return Own(path, tuple(seen)), tuple(notes)


def old_measurements(seen: Sequence[Observation], *, today: date | None = None) -> str:
    """Say how many measurements are older than quotes may be, or undated; nothing where all are fresh."""
    now = today or date.today()
    days = [_day(o.as_of) for o in seen]
    old = [d for d in days if d is None or (now - d).days > STALE_DAYS]
    if not old:
        return ""
    dated = sorted(d for d in old if d is not None)
    oldest = f", the oldest {dated[0].isoformat()}" if dated else ""
    return f"{len(old)} of {len(seen)} were measured more than {STALE_DAYS} days ago or at no stated time{oldest}"


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except InputError:
        return None  # a tool's own words for a date: as good as none
