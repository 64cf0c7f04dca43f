"""Performance: the only bridge from physics (chips, architectures) to the rest of the house.

`model/work.py` knows FLOPs and bytes, `silicon/roofline.py` knows seconds; here they are multiplied with calibrated
efficiencies into step times (what machines replay) and serving points (what decisions compare).
"""

from __future__ import annotations

from polysilicon.performance.cost import Swing, TokenCost, token_cost, tornado, users_per_rack, what_if
from polysilicon.performance.efficiency import Efficiency, efficiency, improved_frac
from polysilicon.performance.measured import Observation, Own
from polysilicon.performance.phases import phase_best
from polysilicon.performance.serving import best, choose, estimate, layouts, meets, table
from polysilicon.performance.steps import step_budget_tokens, step_times
from polysilicon.performance.types import ServingPoint, StepTimes

__all__ = [
    "Efficiency", "Observation", "Own", "ServingPoint", "StepTimes", "Swing", "TokenCost", "best", "choose", "efficiency", "estimate",
    "improved_frac", "layouts", "meets", "phase_best", "step_budget_tokens", "step_times", "table", "token_cost", "tornado",
    "users_per_rack", "what_if",
]  # fmt: skip
