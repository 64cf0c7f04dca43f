"""R03: collectives by domain size and link speed; experts beyond the domain are slower."""

import numpy as np
import pytest
from chip_entry import KNOWN

from polysilicon.model.layout import Layout
from polysilicon.performance.steps import degrees, ground, tokens_s
from polysilicon.silicon.network import Links, all_reduce_s, all_to_all_s


def test_alpha_beta():
    links = Links(900e9, 72, latency_s=3e-6)
    assert float(all_reduce_s(0, 64, links)) == pytest.approx(6 * 3e-6)
    assert float(all_reduce_s(900e9, 64, links)) == pytest.approx(2 * 63 / 64 + 18e-6)


def test_experts_beyond_the_domain_are_slower():
    assert float(all_to_all_s(1e8, 16, Links(450e9, 8))) > float(all_to_all_s(1e8, 16, Links(450e9, 72)))
    model, layout = KNOWN.model("deepseek-r1"), degrees([Layout("fp8", "fp8", tp=1, dp=16, ep=16)])
    node, rack = (ground(model, KNOWN.chip(c), "fp8", "fp8") for c in ("B200", "GB200"))
    n = np.array([[16384.0]])
    assert float(tokens_s(node.terms, node.rates, layout, n)[0, 0]) > float(tokens_s(rack.terms, rack.rates, layout, n)[0, 0])
