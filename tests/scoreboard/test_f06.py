"""F06: the chip maker's margin inside a chip-hour and a token."""

from pytest import approx

from polysilicon.economics.cost import Rack, chip_hour
from polysilicon.economics.references import number_of
from polysilicon.economics.tokens import margin_stack


def test_share_of_the_price_with_its_source():
    layers = margin_stack(10.0, mtok_per_chip_hour=0.5, rent_usd_per_chip_hour=3.0)
    assert sum(layers.values()) == approx(10.0)
    maker = layers["chip maker's gross margin"] * 0.5
    by_hand = 0.58 * 5.9e6 / 5 / (72 * 8760 * 0.85) * 0.73  # $/chip-hour
    assert maker == approx(min(by_hand, 3.4e6 / 5 / (72 * 8760 * 0.85) * 0.73))
    assert number_of("bernstein-gb200-rack", "chip_maker_gross_profit_frac") == 0.29


def test_layers_add_up_to_the_rent():
    layers = margin_stack(3.0, mtok_per_chip_hour=1.0, rent_usd_per_chip_hour=3.0)
    own = sum(v for name, v in layers.items() if name not in ("cloud's margin after capital", "lab gross margin"))
    assert own == approx(chip_hour(Rack()).total_usd)
