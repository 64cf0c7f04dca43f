"""Compile ahead of time: an installer calls `warm` so that nobody waits at the first replay."""

# mypy: disable-error-code="no-untyped-call, misc, unused-ignore"
# (numba's events carry no annotations)

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from numba import from_dtype, types
from numba.core import event

from polysilicon.simulator import kernel, prefix, spans
from polysilicon.simulator.compiled import functions, is_warm
from polysilicon.simulator.state import KNOWN

_TABLE = types.Array(types.int64, 1, "C")
_KNOWN = types.Array(from_dtype(KNOWN), 1, "C")
_ENTRIES = (  # what Python calls, with the types it calls it with
    (kernel.act, (_TABLE, types.int64, types.int64, types.float64, types.int64, types.boolean)),
    (prefix.copy_known, (_TABLE, _KNOWN, types.float64)),
    (spans.number, (spans.PROMPTS, spans.TABLES, types.int64, types.int64, types.int64)),
    (spans.spell, (spans.PROMPTS, *(types.Array(t, 1, "C") for t in (types.int32, types.int32, types.int64, types.int64)))),
)


def warm(progress: Callable[[float], None] | None = None) -> bool:
    """Compile all that Python calls, unless this version's machine code is on disk; return whether it had to.

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
        for function, signature in _ENTRIES:
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
