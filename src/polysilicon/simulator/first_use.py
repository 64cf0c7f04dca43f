"""Compile ahead of time: an installer calls `warm` so that nobody waits at the first replay."""

# mypy: disable-error-code="no-untyped-call, misc, unused-ignore"
# (numba's events carry no annotations)

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import event

from polysilicon.simulator import kernel
from polysilicon.simulator.compiled import functions, is_warm

_TABLE = types.Array(types.int64, 1, "C")
_ENTRIES = (  # what Python calls, with the types it calls it with
    (kernel.run, (_TABLE, types.float64, types.int64, types.boolean)),
    (kernel.fail, (_TABLE, types.int64, types.float64, types.int64)),
    (kernel.rise, (_TABLE, types.int64, types.float64)),
    (kernel.drain, (_TABLE, types.int64, types.float64)),
    (kernel.open_door, (_TABLE, types.float64)),
    (kernel.give_up, (_TABLE, types.float64)),
)


def warm(progress: Callable[[float], None] | None = None, *, everything: bool = True) -> bool:
    """Compile the loop, unless this version's machine code is on disk; return whether it had to.

    With `everything`, what acts on a fleet during a run too: outages, repairs, drains; else that waits for its first use.
    `progress` is told the share of functions that are done. The garbage collector is off meanwhile: it takes a tenth of
    the time here and finds nothing.
    """
    if is_warm():
        return False
    collects = gc.isenabled()
    gc.disable()
    listener = _Counter(progress)
    event.register("numba:compile", listener)
    try:
        for function, signature in _ENTRIES if everything else _ENTRIES[:1]:
            compiled: Any = function
            compiled.compile(signature)
    finally:
        event.unregister("numba:compile", listener)
        if collects:
            gc.enable()
    return True


class _Counter(event.Listener):
    """Counts functions as the compiler finishes them."""

    def __init__(self, progress: Callable[[float], None] | None) -> None:
        self.progress = progress
        self.done = 0

    def on_start(self, event: Any) -> None:
        """A function is begun."""  # noqa: D401

    def on_end(self, event: Any) -> None:
        """Tell how far it is."""
        self.done += 1
        if self.progress is not None:
            self.progress(min(1.0, self.done / functions()))
