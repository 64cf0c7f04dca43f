"""What a program holds: chips under terms by pool, and the share of a spot chip's time that serves."""

from __future__ import annotations

import numpy as np

from polysilicon.cloud.offer import Offer
from polysilicon.planner.problem import I8
from polysilicon.planner.program import Program

RELOAD_HOURS = 0.25  # of a spot chip's time lost at each interruption; assumed


def spot_usable(offer: Offer) -> float:
    """Return the share of a rented chip's time that serves: each interruption loses a reload."""
    return max(0.0, 1.0 - offer.interruptions_per_hour * RELOAD_HOURS)


def held_by_pool(program: Program) -> list[tuple[I8, I8, I8]]:
    """Return (pool, period, label) of chips held under terms: signed blocks and contracts' deliveries."""
    pool_of = np.array(program.tables.pool_of, np.int64)
    found = []
    if len(program.hold_offer):
        found.append((pool_of[program.hold_offer], program.hold_period, program.blocks["hold"]))
    if len(program.given_pool):
        found.append((program.given_pool, program.given_period, program.blocks["given"]))
    return found
