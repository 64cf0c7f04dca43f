"""What the rows about the live gateway share: a rig of emulated doors on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gateway"))

from rig import Rig, ask, endpoint, key, post

__all__ = ["Rig", "ask", "endpoint", "key", "post", "running"]


@contextmanager
def running(folder: Path, endpoints: list[Any], **settings: Any) -> Iterator[Rig]:
    """A rig for the length of a block."""
    rig = Rig(folder, endpoints, **settings)
    try:
        yield rig
    finally:
        rig.close()
