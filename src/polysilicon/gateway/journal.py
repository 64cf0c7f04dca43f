"""The structured log: one JSON object a line on stderr, without prompts and without secrets."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line."""
    line = {"at": round(time.time(), 3), "level": level, "event": event, **fields}
    print(msgspec.json.encode(line).decode(), file=sys.stderr, flush=True)
