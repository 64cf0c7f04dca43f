"""The structured log: one JSON object a line on stderr, without prompts and without secrets."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

_late = 0  # lines that could not be written since the last one that was


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line; where nobody can take it (a full disk, a pipe whose reader has gone) the next one says how many.

    The stream keeps some 8 KB and sends them with that one; the lines before are lost. Traffic, prices and the ledger go on, so it raises nothing.
    """
    global _late
    line = {"at": round(time.time(), 3), "level": level, "event": event, **fields}
    if _late:
        line["lines_delayed_or_lost"] = _late
    try:
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")  # in one piece: processes share the stream
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # no room, no reader; closed; none at all, as under pythonw
        _late += 1
    else:
        _late = 0
