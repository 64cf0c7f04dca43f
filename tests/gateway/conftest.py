"""A rig per test, closed afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from issuer import Issuer
from rig import Rig, served


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Make rigs; all are closed at the end of the test."""
    made: list[Rig] = []

    def make(endpoints: list[Any], **settings: Any) -> Rig:
        made.append(Rig(tmp_path / f"state{len(made)}", endpoints, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as one, served(one):
        yield one
