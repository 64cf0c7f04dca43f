"""V02: a deal says what it covers: models, regions, share, dates; a capacity or equity deal without scope is an error."""

import pytest
from copilots import EXAMPLE, KNOWN

from polysilicon.errors import InputErrors
from polysilicon.scenario import load, load_text, resolve

DEAL = """
  - {id: headline, cloud: azure, kind: capacity_mw, start: 2027-01-01, end: 2028-01-01, it_mw: 10, chip: gb200, usd_per_chip_hour: 4.0%s}
"""


def text_with(scope: str) -> str:
    text = EXAMPLE.read_text()
    at = text.index("limits:")
    return text[:at].rstrip() + (DEAL % scope) + "\n" + text[at:]


def test_a_headline_without_scope_is_refused_with_its_line():
    with pytest.raises(InputErrors) as caught:
        load_text(text_with(""), str(EXAMPLE), KNOWN)
    (problem,) = caught.value.problems
    assert "a capacity_mw contract needs scope" in str(problem)
    assert "say what it covers" in problem.hint
    assert problem.where.startswith(f"{EXAMPLE}:")


def test_scope_holds_models_regions_share_and_dates_and_narrows_what_the_deal_covers():
    scope = ", scope: {models: [gpt-oss-120b], regions: [us], share_max_frac: 0.5}"
    scenario = load_text(text_with(scope), str(EXAMPLE), KNOWN)
    deal = scenario.contracts[-1]
    assert deal.scope is not None
    assert (deal.scope.models, deal.scope.regions, deal.scope.share_max_frac) == (("gpt-oss-120b",), ("us",), 0.5)
    assert deal.start < deal.end
    contract = next(c for c in resolve(scenario, KNOWN).contracts if c.id == "headline")
    assert contract.eligible
    assert not any("-eu" in name for name in contract.eligible)
    with pytest.raises(InputErrors, match="share_max_frac"):
        load_text(text_with(scope.replace("0.5", "5")), str(EXAMPLE), KNOWN)
    assert load(EXAMPLE, KNOWN).contracts[0].scope is not None
