"""D03: an investment split into cash and a right to capacity; the parts sum to it and the right has a worth of its own."""

import pytest
from audited import EXAMPLE, example

from polysilicon.economics.deal import deal_from
from polysilicon.economics.projection import project
from polysilicon.economics.verdicts import rights
from polysilicon.errors import InputErrors
from polysilicon.scenario.document import parse_document

SPLIT = """    tranches: [{on: 2026-01-01, usd: 2.5e+9}]
    in_kind: {usd: KIND, chip: gb200, chips: 50000, start: 2026-07-01, months: 24, strike_usd_per_chip_hour: 2.5,
              market_usd_per_chip_hour: 3.0, volatility_frac: VOL}
"""


def with_split(kind="7.5e+9", volatility="0.3"):
    marker = "    post_money_usd: 350.0e+9\n    source"
    text = EXAMPLE.read_text().replace(marker, SPLIT.replace("KIND", kind).replace("VOL", volatility) + marker, 1)
    return deal_from(parse_document(text, "deal.yaml"))


def test_cash_and_kind_sum_to_ten():
    deal = with_split()
    assert project(deal).total(payer="nvidia", kind="equity") == 2.5e9
    with pytest.raises(InputErrors, match="do not sum"):
        with_split(kind="7e+9")


def test_the_right_is_valued_over_price_paths():
    calm, wild = (rights(with_split(volatility=v))["nvidia-equity in kind"] for v in ("0.0", "0.6"))
    held = 50_000 * 730 * sum(0.5 * 1.1 ** -((rights_start := 225 / 365.25) + m / 12) for m in range(24))
    assert rights_start > 0 and calm == pytest.approx(held, rel=1e-3)
    assert wild > calm > 0
    assert "nvidia-equity in kind" not in rights(example())
