"""Toy questions for the planner's checks: the builders of tests/planner, and a solved plan in one call."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from polysilicon import planner

_spec = importlib.util.spec_from_file_location("toy_world", Path(__file__).parents[1] / "planner" / "world.py")
_world = importlib.util.module_from_spec(_spec)
import sys  # noqa: E402

sys.modules["toy_world"] = _world  # dataclasses look their module up
_spec.loader.exec_module(_world)

CHIPS, NATIVE, SPEED = _world.CHIPS, _world.NATIVE, _world.SPEED
offer, point, port, table, work, world = _world.offer, _world.point, _world.port, _world.table, _world.work, _world.world


def tables(resolved, speed=None):
    return planner.problem(resolved, table(resolved.workloads, speed))


def solve(resolved, speed=None, **more):
    return planner.plan(resolved, table(resolved.workloads, speed), gap_frac=1e-6, **more)
