"""polysilicon: compute portfolios for LLM inference, across many silicons.

>>> import polysilicon
>>> sorted(polysilicon.__all__)
['__version__', 'plan', 'read_plan', 'scenario', 'simulate', 'study']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from polysilicon.application.trace import Trace
    from polysilicon.portfolio import Plan
    from polysilicon.scenario import Scenario
    from polysilicon.simulator import SimulationResult

__version__ = "0.1.0"
__all__ = ["__version__", "plan", "read_plan", "scenario", "simulate", "study"]


def plan(scenario: Scenario | Path | str, *, proof: bool = True) -> Plan:
    """Return the cheapest plan of a scenario, or of a scenario file, that keeps its promises in a replay.

    Raises: InputErrors for a scenario that cannot be right, Infeasible where no plan satisfies its limits, PromiseNotKept
    where no plan keeps its promises.
    """
    from polysilicon.scenario import Scenario, catalogue_for, load
    from polysilicon.study import run

    asked = scenario if isinstance(scenario, Scenario) else load(scenario)
    return run(asked, catalogue_for(asked), proof=proof).plan


def simulate(plan: Plan, trace: Trace, *, period: int = 0, scenario: Scenario | None = None, seed: int = 0) -> SimulationResult:
    """Replay a trace on the fleet that a plan holds in one period.

    `trace.workload_names` are matched with the plan's workloads; promises come from `scenario`, if given.

    Raises: InputError where the plan has no such period, or the trace names a workload the plan does not serve.
    """
    from polysilicon import catalogue as catalogues
    from polysilicon.application.workload import Lengths, Slo, Workload
    from polysilicon.scenario import catalogue_for, resolve
    from polysilicon.simulator import simulate as replay
    from polysilicon.simulator.fleet import from_plan

    known = catalogues.load() if scenario is None else catalogue_for(scenario)
    if scenario is not None:
        workloads = resolve(scenario, known).workloads
    else:
        points = {point.workload: point for point in plan.points}
        workloads = tuple(Workload(w, p.model, Slo(), Lengths(0.0, 0.0), 0.0) for w, p in points.items())
    return replay(from_plan(plan, known, period, workloads=workloads), trace, seed=seed)


def __getattr__(name: str) -> Any:
    """Import a part of the house when it is first asked for."""
    if name == "read_plan":
        from polysilicon.portfolio import read_plan

        return read_plan
    if name in ("scenario", "study"):
        import importlib

        return importlib.import_module(f"polysilicon.{name}")
    raise AttributeError(f"module 'polysilicon' has no attribute {name!r}")
