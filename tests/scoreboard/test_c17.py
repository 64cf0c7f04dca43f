"""C17: what-if chips, and which field of a chip a long-context decode is worth most in."""

from dataclasses import replace

from chip_entry import KNOWN

from polysilicon.application.workload import Lengths, Slo
from polysilicon.performance import best, tornado, what_if

LONG = Lengths(32000, 4000)
SLO = Slo(60.0, 0.05)


def test_memory_bandwidth_leads_the_tornado_of_a_long_context_decode():
    swings = tornado(KNOWN.model("llama-3.1-8b"), replace(KNOWN.chip("H200"), hbm_gb=512.0), LONG, SLO)
    assert swings[0].field == "hbm_gb_per_s"


def test_a_hypothetical_chip_is_a_field_away():
    model, chip = KNOWN.model("llama-3.1-8b"), KNOWN.chip("H200")
    faster = what_if(chip, "hbm_gb_per_s", 2.0)
    one, two = best(model, chip, LONG, SLO), best(model, faster, LONG, SLO)
    assert one is not None
    assert two is not None
    assert two.tok_per_s_per_chip > one.tok_per_s_per_chip
