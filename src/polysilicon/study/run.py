"""Plan, prove, raise headroom where a promise is missed, plan again; stop with a proven plan or say why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from polysilicon import planner
from polysilicon.application.workload import Workload
from polysilicon.catalogue import Catalogue
from polysilicon.errors import Infeasible, InputError, PromiseNotKept
from polysilicon.portfolio import Plan
from polysilicon.report.words import money
from polysilicon.scenario import Resolved, Scenario, resolve
from polysilicon.study.deferral import replay_deferred
from polysilicon.study.fleet import parts_of
from polysilicon.study.proof import EXTRA_STEPS, Measured, Replay, needed_headroom, replay
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
            found.update({f"{measured.workload} {p.measure}": f"{measured.workload}: {p.words}" for p in measured.promises if not p.kept})
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
    tables: planner.Problem | None = None  # the plan's program, to ask it further
    program: planner.Program | None = None
    solution: planner.Solution | None = None
    failure: PromiseNotKept | None = None  # why the promises cannot be kept
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
    """What stays the same through the rounds, and what changes."""

    scenario: Scenario
    resolved: Resolved
    margin_quantile: float
    seed: int
    tell: Progress
    headroom: dict[str, float] = field(default_factory=dict)
    strictness: dict[str, float] = field(default_factory=dict)
    done: list[ProofRound] = field(default_factory=list)
    table: Table | None = None  # stays until latencies are planned shorter
    replayed: dict[tuple[object, ...], Measured | None] = field(default_factory=dict)  # what a new plan left as it was

    @property
    def number(self) -> int:
        """Return the round that is on."""
        return len(self.done) + 1


def run(
    scenario: Scenario,
    catalogue: Catalogue,
    *,
    progress: Progress | None = None,
    seed: int | None = None,
    margin_quantile: float | None = None,
    proof: bool = True,
    on_plan: OnPlan | None = None,
) -> StudyResult:
    """Plan a scenario and prove the plan by replaying its traffic, raising headroom until every promise is kept.

    `on_plan` is called with every plan as soon as there is one, so that an interrupted study leaves what it had.

    Raises: InputErrors for a scenario that cannot be right; Infeasible where no plan satisfies the limits, or a workload
    fits nowhere; PromiseNotKept naming the promise, when no capacity tried keeps it.
    """
    result = explore(scenario, catalogue, progress=progress, seed=seed, margin_quantile=margin_quantile, proof=proof, on_plan=on_plan)
    if result.failure is not None:
        raise result.failure
    return result


def explore(
    scenario: Scenario,
    catalogue: Catalogue,
    *,
    progress: Progress | None = None,
    seed: int | None = None,
    margin_quantile: float | None = None,
    proof: bool = True,
    on_plan: OnPlan | None = None,
) -> StudyResult:
    """Do what `run` does, but return a study whose promises cannot be kept, with its `failure`, so that it can be shown.

    Raises: as `run`, PromiseNotKept excepted.
    """
    margin = scenario.study.margin_quantile if margin_quantile is None else margin_quantile
    if not 0 < margin < 1:
        raise InputError(f"the margin is {margin:g}; it is a quantile between 0 and 1, 0.5 trusts the model, 0.9 is careful")
    began = time.monotonic()
    tell = progress or (lambda _done, _words: None)
    loop = _Loop(scenario, resolve(scenario, catalogue), margin, scenario.seed if seed is None else seed, tell)
    result: StudyResult | None = None
    while True:
        try:
            result = _round(loop, proof=proof, on_plan=on_plan)
            if not proof or result.proven is not False:
                break
            if len(loop.done) >= scenario.study.max_rounds:
                words = f"after {len(loop.done)} rounds of plan and proof; the last plan costs {money(result.plan.objective_usd)}"
                raise _not_kept(result, words)
            _raise_headroom(loop, result)
        except PromiseNotKept as failure:
            if result is None:
                raise
            result = replace(result, failure=failure)
            break
    return replace(result, seconds={"all": time.monotonic() - began})


def _round(loop: _Loop, *, proof: bool, on_plan: OnPlan | None) -> StudyResult:
    """Plan once and, if asked, prove once."""
    began = time.monotonic()
    if loop.table is None:
        loop.tell(_share(loop.number, 0.0), "serving points")
        loop.table = serving_table(loop.resolved, margin_quantile=loop.margin_quantile, strictness=loop.strictness)
    table = loop.table
    _refuse_unservable(loop, table)
    tables = planner.problem(loop.resolved, table.points, headroom_frac=loop.headroom, phases=table.phases)
    plan, program, solution = _plan(loop, tables, table)
    if on_plan is not None:
        on_plan(plan)
    planned = time.monotonic()
    if proof:
        job = _job(loop, plan, table)
        measured = _measure(loop, job)
        clock = {"plan": planned - began, "proof": time.monotonic() - planned}
        headroom, strictness = dict(loop.headroom), dict(loop.strictness)
        loop.done.append(ProofRound(loop.number, headroom, strictness, plan.objective_usd, measured, clock))
    return StudyResult(
        loop.scenario,
        loop.resolved,
        table,
        plan,
        tuple(loop.done),
        tables=tables,
        program=program,
        solution=solution,
        margin_quantile=loop.margin_quantile,
        seed=loop.seed,
    )


def _job(loop: _Loop, plan: Plan, table: Table) -> Replay:
    each = loop.resolved.study.proof_requests // (len(loop.resolved.workloads) * len(proof_periods(plan)))
    return Replay(loop.resolved, plan, table.points, max(100, each), loop.seed, loop.margin_quantile)


def _plan(loop: _Loop, tables: planner.Problem, table: Table) -> tuple[Plan, planner.Program, planner.Solution]:
    study, number = loop.resolved.study, loop.number
    loop.tell(_share(number, 0.1), f"plan {number}")
    try:
        return planner.planned(
            tables,
            seconds=study.solver_seconds,
            gap_frac=study.gap_frac,
            progress=lambda done, words: loop.tell(_share(number, 0.1 + 0.5 * done), words),
        )
    except Infeasible as error:
        if not loop.done:
            raise _with_reasons(error, loop, table) from error
        asked = ", ".join(f"{share:.0%} for {name}" for name, share in loop.headroom.items())
        missed = "; ".join(loop.done[-1].missed)
        raise PromiseNotKept(
            f"{missed}. The replay asks for more capacity ({asked}), and no plan gives it: {error.message}",
            where=loop.scenario.name,
            hint="loosen the promise, or one of the limits named",
        ) from error


def _with_reasons(error: Infeasible, loop: _Loop, table: Table) -> Infeasible:
    """Return the clash with what keeps chips out of the workloads it names."""
    named = [w.id for w in loop.resolved.workloads if f"workload {w.id};" in error.message]
    lines = [f"{name} on {chip}: {why}" for (name, chip), why in sorted(table.absent.items()) if name in named]
    if not lines:
        return error
    return Infeasible("\n    ".join([f"{error.message}\n  chips without a serving point:", *lines]), where=error.where, hint=error.hint)


def _refuse_unservable(loop: _Loop, table: Table) -> None:
    """Say why, chip by chip, where a workload has no serving point and no per-token offer."""
    bought = {o.model for o in loop.resolved.offers if o.kind == "per_token"}
    reasons = {w.id: table.why_nowhere(w.id) for w in loop.resolved.workloads if w.model not in bought}
    lost = [f"{name} ({loop.resolved.workload(name).model}): {reason}" for name, reason in reasons.items() if reason]
    if lost and loop.done:
        raise PromiseNotKept(
            f"{'; '.join(loop.done[-1].missed)}. With latencies planned shorter no chip is left: {'; '.join(lost)}",
            where=loop.scenario.name,
            hint="loosen the promise, or let other chips in",
        )
    if lost:
        raise Infeasible(
            "no chip on offer serves " + "; ".join(lost),
            where=loop.scenario.name,
            hint="loosen the promise, choose another model, or let other chips in under offers",
        )


def _measure(loop: _Loop, job: Replay) -> tuple[Measured, ...]:
    found = []
    steps = [(period, work) for period in proof_periods(job.plan) for work in job.resolved.workloads]
    for i, (period, work) in enumerate(steps):
        loop.tell(_share(loop.number, 0.6 + 0.3 * i / len(steps)), f"replaying {work.id} in {job.resolved.periods[period].start}")
        key = _unchanged(job, work, period)
        if key not in loop.replayed or work.slo.deferrable:  # idle capacity is everybody's: always replayed anew
            loop.replayed[key] = _one(job, work, period)
        measured = loop.replayed[key]
        if measured is not None:
            found.append(measured)
    return tuple(found)


def _unchanged(job: Replay, work: Workload, period: int) -> tuple[object, ...]:
    """Return what a replay depends on: the same load on the same replicas need not be replayed twice."""
    parts = parts_of(job.resolved, job.plan, job.points, work, period)
    held = tuple((p.placement.pool, p.held_replicas, round(p.rps, 6), tuple((x.layout, x.batch) for x in p.points)) for p in parts)
    return (work.id, period, held)


def _one(job: Replay, work: Workload, period: int, *, extra_frac: float = 0.0) -> Measured | None:
    return (replay_deferred if work.slo.deferrable else replay)(job, work, period, extra_frac=extra_frac)


def proof_periods(plan: Plan) -> tuple[int, ...]:
    """Return the periods that are replayed: the first, and the last, where demand and port ages differ most."""
    return tuple(dict.fromkeys((plan.periods[0].index, plan.periods[-1].index)))


def _raise_headroom(loop: _Loop, result: StudyResult) -> None:
    """Find, by replay alone, the capacity each missed workload needs, so that one new plan is enough.

    Where more of the same does not help, the workload's latencies are planned shorter: another layout, a smaller batch.
    """
    job = _job(loop, result.plan, result.table)
    missed = [m for m in loop.done[-1].measured if not m.kept]
    planned_shorter: set[str] = set()
    for i, m in enumerate(missed):
        loop.tell(_share(len(loop.done), 0.9 + 0.1 * i / len(missed)), f"how much more {m.workload} needs")
        work = loop.resolved.workload(m.workload)
        extra = needed_headroom(job, work, m.period, one=_one)
        if extra is not None:
            for key in {p.headroom_key for p in result.plan.placements if (p.workload, p.period) == (m.workload, m.period)}:
                wanted = (1.0 + result.plan.headroom_frac.get(key, 0.0)) * (1.0 + extra) - 1.0
                loop.headroom[key] = max(loop.headroom.get(key, 0.0), round(wanted, 3))
            continue
        if m.workload in planned_shorter:
            continue
        planned_shorter.add(m.workload)
        share = loop.strictness.get(m.workload, 1.0) * STRICTER
        if share < STRICTEST or work.slo.deferrable:
            raise _not_kept(result, f"and {1 + EXTRA_STEPS[-1]:g} times the capacity does not keep it either")
        loop.strictness[m.workload] = share
        loop.table = None


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
    hint = f"at {money(result.plan.objective_usd)} these hold if loosened: {loosen}"
    return PromiseNotKept(f"{'; '.join(last.missed)}, {words}", where=result.scenario.name, hint=hint)


def _share(number: int, inside: float) -> float:
    """Return how far the study is, counting on two rounds and never ahead of itself."""
    return 1.0 - 0.5 ** (number - 1) * (1.0 - 0.5 * inside)
