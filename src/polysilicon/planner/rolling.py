"""A rolling horizon: the plan made again every period as the future shows itself, what was signed and started before it staying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polysilicon.errors import Infeasible, InputError
from polysilicon.parallel import run_all
from polysilicon.planner.arcs import months
from polysilicon.planner.engine import Progress
from polysilicon.planner.futures import TAIL_FRAC, Doubt, hourly_factors, slipped
from polysilicon.planner.problem import F8, Problem
from polysilicon.planner.resolve import Answer, Asker
from polysilicon.planner.uncertainty import Key, cvar_usd, decision_labels

ONCE, AGAIN, KNOWING = "planned once, kept", "planned again every period", "had one known"


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a course of decisions came to; dollars are discounted over the horizon, infinite where it left no plan within the limits."""

    usd: float
    unserved_frac: float
    is_priced: bool  # nothing to speak of goes unserved whose loss the scenario does not price
    steps_count: tuple[Mapping[Key, float], ...]  # decided in each view: blocks signed, ports started, contracts taken


@dataclass(frozen=True, slots=True)
class Course:
    """One way to decide, over all walks that leave each way a plan within the scenario's limits."""

    name: str
    expected_usd: float | None  # None where demand goes unserved whose loss the scenario does not price
    cvar_usd: float | None  # mean of the worst tenth
    unserved_frac: float
    stuck: int  # walks in which it ends without a plan


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing to sign, start or take: in today's plan, and over the walks of one who plans again."""

    what: str
    start: str  # of the period
    once_count: float
    least_count: float
    mean_count: float
    most_count: float


@dataclass(frozen=True, slots=True)
class Rolling:
    """What planning again is worth; discounted dollars."""

    walks: int
    seed: int
    periods: int
    courses: tuple[Course, ...]  # planned once, planned again, known
    decisions: tuple[Drift, ...]  # those that stray, and those of today's first period

    @property
    def again_saves_usd(self) -> float | None:
        """Return what planning again saves on average over a plan that is kept; below nil where it chased what did not last."""
        return _less(self.courses[0], self.courses[1])

    @property
    def regret_usd(self) -> float | None:
        """Return what deciding before one knows costs on average, planning again each period."""
        return _less(self.courses[1], self.courses[2])


def _less(one: Course, other: Course) -> float | None:
    return None if one.expected_usd is None or other.expected_usd is None else one.expected_usd - other.expected_usd


def roll(views: Sequence[Problem]) -> Rolled:
    """Return what planning again comes to: view k is the question as it looks in period k.

    What earlier steps signed and started stays; each step decides its own period. The last view is taken for the truth. Where what
    was signed leaves no plan within the limits, the steps end there.
    """
    fixed: dict[Key, float] = {}
    steps: list[Mapping[Key, float]] = []
    for k, tables in enumerate(views):
        asker, answer = _ask(tables, {key: n for key, n in fixed.items() if key[2] < k}, k)
        if not np.isfinite(answer.usd):
            break
        now = _decided(asker, answer, k)
        fixed |= now
        steps.append(now)
    return _rolled(answer, tuple(steps))


def keep(first: Problem, truth: Problem) -> Rolled:
    """Return what the decisions of one view, later ones included, come to when another came true; only routing and hourly chips react."""
    asker = Asker(first)
    decided = _decided(asker, asker.ask())
    _, answer = _ask(truth, decided, len(truth.periods))
    return _rolled(answer, (decided,))


def _rolled(answer: Answer, steps_count: tuple[Mapping[Key, float], ...]) -> Rolled:
    told = answer.told_usd
    return Rolled(answer.usd if told is None else told, answer.unserved_frac, told is not None, steps_count)


def _ask(tables: Problem, fixed: Mapping[Key, float], step: int) -> tuple[Asker, Answer]:
    """Return the best answer with everything before period `step` as it was decided, and the asker for its labels."""
    asker = Asker(tables)
    past = {key: label for key, label in decision_labels(asker.program).items() if key[2] < step}
    columns = asker.engine.column_of[np.array(list(past.values()), np.int64)] if past else np.empty(0, np.int64)
    values = np.array([fixed.get(key, 0.0) for key in past])
    asker.engine.solver.bounds(columns, values, values)
    return asker, asker.ask()


def _decided(asker: Asker, answer: Answer, period: int | None = None) -> dict[Key, float]:
    labels = decision_labels(asker.program)
    return {key: float(answer.values[label]) for key, label in labels.items() if period is None or key[2] == period}


def walks(tables: Problem, *, count: int, seed: int, doubt: Doubt) -> list[tuple[Problem, ...]]:
    """Return, for so many equally likely walks, the question as it looks in each period; the last is what came true.

    Demand of period y is times exp(v W_t - v^2 t / 2), W Brownian and mirrored in pairs, t in years from today. In period k what came
    is known, and what is to come is expected to stay as many times the scenario's as now, which is the walk's mean. Hourly prices and
    late chips, drawn as `futures.draw` draws them, show from the second period on.

    Raises: InputError for a horizon of one period, in which nothing is planned again.
    """
    count_of = len(tables.periods)
    if count_of < 2:
        raise InputError("has one period: nothing is planned again", where=tables.name, hint="give horizon more months, or a shorter period")
    rng = np.random.default_rng(seed)
    years = np.array([months(tables.periods[0].start, p.start) / 12.0 for p in tables.periods])
    vendors = sorted({p.chip.vendor for p in tables.pools})
    v, found = doubt.demand_volatility_frac, []
    z, w = np.empty(0), np.empty(0)
    for i in range(count):
        if i % 2 == 0:
            z, w = rng.standard_normal(count_of - 1), rng.standard_normal(len(vendors))
        else:
            z, w = -z, -w
        brownian = np.concatenate([[0.0], np.cumsum(z * np.sqrt(np.diff(years)))])
        factor = np.exp(v * brownian - v**2 * years / 2)
        later = slipped(tables.repriced(hourly_factors(tables, vendors, w, doubt)), rng, doubt)
        views = [_demanded(later if k else tables, factor[np.minimum(np.arange(count_of), k)]) for k in range(count_of)]
        found.append(tuple(views))
    return found


def _demanded(tables: Problem, factor: F8) -> Problem:
    """Return the question with each period's demand multiplied."""
    each = factor[tables.slot_period]
    return replace(tables, demand_rps=tables.demand_rps * each, peak_rps=tables.peak_rps * each)


def rolling(
    tables: Problem, *, count: int, seed: int, doubt: Doubt | None = None, workers: int = 1, backend: str = "processes",
    address: str | None = None, progress: Progress | None = None,
) -> Rolling:  # fmt: skip
    """Return what planning again every period is worth over drawn walks, and which decisions stray from today's plan.

    `workers`, `backend` and `address` are those of `polysilicon.parallel.run_all`; where it runs cannot change the result.

    Raises: InputError for a horizon of one period; Infeasible when in every walk some way to decide is left without a plan.
    """
    tell = progress or (lambda _done, _words: None)
    jobs = walks(tables, count=count, seed=seed, doubt=doubt or Doubt())
    tell(0.05, f"{count} walks of {len(tables.periods)} periods")
    found = run_all(follow, jobs, workers=workers, backend=backend, address=address)
    usd = np.array([[course.usd for course in each] for each in found])  # [walk, course]
    unserved = np.array([[course.unserved_frac for course in each] for each in found])
    whole = np.isfinite(usd).all(axis=1)
    if not whole.any():
        raise Infeasible("in every walk some way to decide is left without a plan within the limits", where=tables.name, hint="draw smaller moves")
    share = np.full(int(whole.sum()), 1.0 / whole.sum())
    courses = []
    for i, name in enumerate((ONCE, AGAIN, KNOWING)):
        paid, stuck = usd[whole, i], int(np.isinf(usd[:, i]).sum())
        told = all(each[i].is_priced for each, kept in zip(found, whole, strict=True) if kept)
        mean, tail = (float(paid.mean()), cvar_usd(paid, share, TAIL_FRAC)) if told else (None, None)
        courses.append(Course(name, mean, tail, float(unserved[whole, i].mean()), stuck))
    drifts = _drifts(tables, found[0][0], [again for _, again, _ in found if np.isfinite(again.usd)])
    return Rolling(count, seed, len(tables.periods), tuple(courses), drifts)


def follow(views: Sequence[Problem]) -> tuple[Rolled, Rolled, Rolled]:
    """Return what one walk comes to: planned once and kept, planned again in every view, and known from the start."""
    truth = views[-1]
    known = Asker(truth).ask()
    return keep(views[0], truth), roll(views), _rolled(known, ())


def _drifts(tables: Problem, once: Rolled, again: Sequence[Rolled]) -> tuple[Drift, ...]:
    """Return the decisions that stray, and all of the first period's; today's plan is the same in every walk."""
    today = once.steps_count[0]
    walked = [{key: n for step in each.steps_count for key, n in step.items()} for each in again]
    found = []
    for key in sorted({*today, *(key for each in walked for key in each)}, key=lambda k: (k[2], k[0])):
        counts = np.array([each.get(key, 0.0) for each in walked])
        mine = today.get(key, 0.0)
        strays = float(np.abs(counts - mine).max()) > 1e-6 * max(1.0, mine)
        if strays or (key[2] == 0 and mine > 1e-6):
            row = (mine, float(counts.min()), float(counts.mean()), float(counts.max()))
            found.append(Drift(words(key), tables.periods[key[2]].start, *row))
    return tuple(found)


def words(key: Key) -> str:
    """Return a decision in words.

    >>> words(("sign:aws-h100", 0, 2)), words(("port:qwen3:maia", 0, 1)), words(("take:macc", 0, 0))
    ('sign aws-h100, blocks', 'port qwen3 to maia', 'take macc')
    """
    kind, _, name = key[0].partition(":")
    if kind == "port":
        family, _, chip = name.partition(":")
        return f"port {family} to {chip}"
    return f"sign {name}, blocks" if kind == "sign" else f"{kind} {name}"
