"""Plan, prove, raise headroom where a promise is missed, plan again; stop with a proven plan or say why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from polysilicon import planner
from polysilicon.application.workload import Workload
from polysilicon.catalogue import Catalogue
from polysilicon.errors import Infeasible, InputError, PromiseNotKept
from polysilicon.portfolio import Plan
from polysilicon.scenario import Resolved, Scenario, resolve
from polysilicon.study.deferral import replay_deferred
from polysilicon.study.proof import Measured, Replay, needed_headroom, replay
from polysilicon.study.serving import Table, serving_table

Progress = Callable[[float, str], None]
OnPlan = Callable[[Plan], None]
STRICTER = 0.75  # each time capacity alone does not help, latencies are planned that much shorter
STRICTEST = 0.3


@dataclass(frozen=True, slots=True)
class ProofRound:
    """One plan and what its replay said."""

    number: int
    headroom_frac: Mapping[str, float]
    strictness: Mapping[str, float]
    objective_usd: float
    measured: tuple[Measured, ...]
    seconds: Mapping[str, float]

    @property
    def missed(self) -> tuple[str, ...]:
        """Say in words which promises were missed, the worst period of each."""
        found: dict[str, str] = {}
        for measured in self.measured:
            found.update(
                {f"{measured.workload} {p.measure}": f"{measured.workload}: {p.words}" for p in measured.promises if not p.kept}
            )
        return tuple(found.values())

    @property
    def kept(self) -> bool:
        """Return whether every promise was kept."""
        return all(measured.kept for measured in self.measured)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A plan, its proof, and what the truth cost."""

    scenario: Scenario
    resolved: Resolved
    table: Table
    plan: Plan
    rounds: tuple[ProofRound, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    margin_quantile: float = 0.5
    seed: int = 7

    @property
    def proven(self) -> bool | None:
        """Return whether the last replay kept every promise; None where nothing was replayed."""
        return self.rounds[-1].kept if self.rounds and self.rounds[-1].measured else None

    @property
    def truth_usd(self) -> float:
        """Return what headroom for kept promises costs over the plan that trusted its serving points, discounted."""
        return self.rounds[-1].objective_usd - self.rounds[0].objective_usd if self.rounds else 0.0


@dataclass(slots=True)
class _Loop:
    """What changes from round to round."""

    headroom: dict[str, float]
    strictness: dict[str, float]
    done: list[ProofRound]


def run(
    scenario: Scenario, catalogue: Catalogue, *,
    progress: Progress | None = None, seed: int | None = None, margin_quantile: float | None = None, proof: bool = True,
    on_plan: OnPlan | None = None,
) -> StudyResult:  # fmt: skip
    """Plan a scenario and prove the plan by replaying its traffic, raising headroom until every promise is kept.

    `on_plan` is called with every plan as soon as there is one, so that an interrupted study leaves what it had.

    Raises: InputErrors for a scenario that cannot be right; Infeasible where no plan satisfies the limits, or a workload
    fits nowhere; PromiseNotKept naming the promise, when no capacity tried keeps it.
    """
    tell = progress or (lambda _done, _words: None)
    began = time.monotonic()
    resolved = resolve(scenario, catalogue)
    margin = scenario.study.margin_quantile if margin_quantile is None else margin_quantile
    if not 0 < margin < 1:
        raise InputError(f"the margin is {margin:g}; it is a quantile between 0 and 1, 0.5 trusts the model, 0.9 is careful")
    seed = scenario.seed if seed is None else seed
    loop = _Loop({}, {}, [])
    while True:
        number = len(loop.done) + 1
        tell(_share(number, 0.0), "serving points")
        table = serving_table(resolved, margin_quantile=margin, strictness=loop.strictness)
        _refuse_unservable(resolved, table, loop)
        at = time.monotonic()
        tell(_share(number, 0.1), f"plan {number}")
        plan = _plan(resolved, table, loop, tell, number)
        planned_s = time.monotonic() - at
        if on_plan is not None:
            on_plan(plan)
        if not proof:
            return StudyResult(scenario, resolved, table, plan, (), {"all": time.monotonic() - began}, margin, seed)
        at = time.monotonic()
        job = Replay(resolved, plan, table.points, _requests_each(resolved, plan), seed, margin)
        measured = _measure(job, tell, number)
        clock = {"plan": planned_s, "proof": time.monotonic() - at}
        loop.done.append(ProofRound(number, dict(loop.headroom), dict(loop.strictness), plan.objective_usd, measured, clock))
        result = StudyResult(scenario, resolved, table, plan, tuple(loop.done), {"all": time.monotonic() - began}, margin, seed)
        if loop.done[-1].kept:
            return result
        if number >= scenario.study.max_rounds:
            raise _not_kept(result, f"after {number} rounds of plan and proof; the last plan costs {_money(plan.objective_usd)}")
        _raise_headroom(job, loop, measured, tell, result)


def _plan(resolved: Resolved, table: Table, loop: _Loop, tell: Progress, number: int) -> Plan:
    try:
        return planner.plan(
            resolved, table.points, headroom_frac=loop.headroom, seconds=resolved.study.solver_seconds, gap_frac=resolved.study.gap_frac,
            progress=lambda done, words: tell(_share(number, 0.1 + 0.5 * done), words),
        )  # fmt: skip
    except Infeasible as error:
        if not loop.done:
            raise
        asked = ", ".join(f"{name} {share:.0%}" for name, share in loop.headroom.items())
        raise PromiseNotKept(
            f"{'; '.join(loop.done[-1].missed)}. The replay asks for more capacity ({asked}), and no plan gives it: {error.message}",
            where=resolved.scenario.name, hint="loosen the promise, or one of the limits named",
        ) from error  # fmt: skip


def _refuse_unservable(resolved: Resolved, table: Table, loop: _Loop) -> None:
    """Say why, chip by chip, where a workload has no serving point and no per-token offer."""
    lost = []
    for work in resolved.workloads:
        bought = any(o.kind == "per_token" and o.model == work.model for o in resolved.offers)
        reason = "" if bought else table.why_nowhere(work.id)
        if reason:
            lost.append(f"{work.id} ({work.model}): {reason}")
    if lost and loop.done:
        raise PromiseNotKept(
            f"{'; '.join(loop.done[-1].missed)}. With latencies planned shorter no chip is left: {'; '.join(lost)}",
            where=resolved.scenario.name, hint="loosen the promise, or let other chips in",
        )  # fmt: skip
    if lost:
        raise Infeasible(
            "no chip on offer serves " + "; ".join(lost), where=resolved.scenario.name,
            hint="loosen the promise, choose another model, or let other chips in under offers",
        )  # fmt: skip


def _measure(job: Replay, tell: Progress, number: int) -> tuple[Measured, ...]:
    found = []
    steps = [(period, work) for period in proof_periods(job.plan) for work in job.resolved.workloads]
    for i, (period, work) in enumerate(steps):
        tell(_share(number, 0.6 + 0.3 * i / len(steps)), f"replaying {work.id} in {job.resolved.periods[period].start}")
        measured = _one(job, work, period)
        if measured is not None:
            found.append(measured)
    return tuple(found)


def _one(job: Replay, work: Workload, period: int, *, extra_frac: float = 0.0) -> Measured | None:
    return (replay_deferred if work.slo.deferrable else replay)(job, work, period, extra_frac=extra_frac)


def proof_periods(plan: Plan) -> tuple[int, ...]:
    """Return the periods that are replayed: the first, and the last, where demand and port ages differ most."""
    return tuple(dict.fromkeys((plan.periods[0].index, plan.periods[-1].index)))


def _requests_each(resolved: Resolved, plan: Plan) -> int:
    return max(100, resolved.study.proof_requests // (len(resolved.workloads) * len(proof_periods(plan))))


def _raise_headroom(job: Replay, loop: _Loop, measured: tuple[Measured, ...], tell: Progress, result: StudyResult) -> None:
    """Find, by replay alone, the capacity each missed workload needs, so that one new plan is enough."""
    missed = [m for m in measured if not m.kept]
    for i, m in enumerate(missed):
        tell(_share(len(loop.done), 0.9 + 0.1 * i / len(missed)), f"how much more {m.workload} needs")
        work = job.resolved.workload(m.workload)
        extra = needed_headroom(job, work, m.period, one=_one)
        before = job.plan.headroom_frac.get(m.workload, 0.0)
        if extra is not None:
            wanted = (1.0 + before) * (1.0 + extra) - 1.0
            loop.headroom[m.workload] = max(loop.headroom.get(m.workload, 0.0), round(wanted, 3))
            continue
        share = loop.strictness.get(m.workload, 1.0) * STRICTER
        if share < STRICTEST or work.slo.deferrable:
            raise _not_kept(result, "and three times the capacity does not keep it either")
        loop.strictness[m.workload] = share
        loop.headroom.pop(m.workload, None)


def _not_kept(result: StudyResult, words: str) -> PromiseNotKept:
    """Return the error that names the promises and what loosening each would take."""
    last = result.rounds[-1]
    reached: dict[tuple[str, str], float] = {}
    for measured in last.measured:
        for promise in measured.promises:
            if not promise.kept:
                key = (measured.workload, promise.measure)
                reached[key] = max(reached.get(key, 0.0), promise.attained_s)
    loosen = ", ".join(f"{name} {measure} to {value:.3g}" for (name, measure), value in reached.items())
    hint = f"at {_money(result.plan.objective_usd)} these hold if loosened: {loosen}"
    return PromiseNotKept(f"{'; '.join(last.missed)}, {words}", where=result.scenario.name, hint=hint)


def _share(number: int, inside: float) -> float:
    """Return how far the study is, counting on two rounds and never ahead of itself."""
    return 1.0 - 0.5 ** (number - 1) * (1.0 - 0.5 * inside)


def _money(usd: float) -> str:
    """Return dollars the way a person says them.

    >>> _money(3.21e9), _money(4.5e6), _money(950.0)
    ('$3.21B', '$4.5M', '$950')
    """
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(usd) >= size:
            return f"${usd / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"${usd:,.0f}"
