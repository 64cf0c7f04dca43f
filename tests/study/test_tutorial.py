"""What the tutorial tells of the enterprise example is what the study answers."""

from __future__ import annotations

import pytest

from polysilicon import catalogue as catalogues
from polysilicon import study
from polysilicon.scenario import load_text
from polysilicon.scenario.load import embedded_text


@pytest.fixture(scope="module")
def known():
    return catalogues.load()


def answer(known, rps):
    text = embedded_text("enterprise").replace("mean_rps: 0.6", f"mean_rps: {rps}")
    return study.run(load_text(text, "firm.yaml", known), known)


def test_a_small_office_buys_tokens(known):
    assert not answer(known, 0.6).plan.holdings


def test_a_large_one_holds_servers_for_the_base_and_buys_tokens_for_the_peaks(known):
    found = answer(known, 40)
    own = {period.index: sum(h.chips for h in found.plan.holdings if h.period == period.index and h.cloud == "own") for period in found.plan.periods}
    assert own[0] == 8 and own[2] == 16
    assert found.proven and len(found.rounds) == 1
    bought = sum(p.mtok for p in found.plan.placements if not p.chip) / sum(p.mtok for p in found.plan.placements)
    assert 0.05 < bought < 0.9
