"""An installer compiles ahead of time."""

from __future__ import annotations

from polysilicon.simulator import warm
from polysilicon.simulator.compiled import is_warm


def test_after_warming_the_machine_code_is_on_disk() -> None:
    warm()
    assert is_warm()
    assert warm() is False
