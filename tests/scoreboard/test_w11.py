"""W11: pricing pressure on the dominant maker, through the toggles of P04."""

from test_p04 import test_a_price_cut_wins_the_work_back as test_pressure_shows_in_the_plan

__all__ = ["test_pressure_shows_in_the_plan"]
