"""The simulator: replays traffic on a fleet, event by event, and says what became of every request.

`fleet` and `metrics` need no compiler; `simulate` and `closed_loop` load it when they are first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polysilicon.simulator.first_use import warm as warm
    from polysilicon.simulator.metrics import SimulationResult as SimulationResult
    from polysilicon.simulator.run import closed_loop as closed_loop
    from polysilicon.simulator.run import simulate as simulate

_HOMES = {"simulate": "run", "warm": "first_use", "closed_loop": "run", "SimulationResult": "metrics"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
