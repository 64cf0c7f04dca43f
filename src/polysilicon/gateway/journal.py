"""The structured log: one JSON object a line on stderr, without prompts and without secrets."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

_missed = 0  # lines that could not be written since the last one that was


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line; where nobody can take it (a full disk, a pipe whose reader has gone) the next one says how many are missing.

    Traffic, prices and the ledger go on without it, so it raises nothing.
    """
    global _missed
    line = {"at": round(time.time(), 3), "level": level, "event": event, **fields}
    if _missed:
        line["lines_missed"] = _missed
    try:
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")  # in one piece: processes share the stream
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # no room, no reader; closed; none at all, as under pythonw
        _missed += 1
    else:
        _missed = 0
