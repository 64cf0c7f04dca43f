"""C18: a chip programme needs anchor volume: one-off cost / saving per chip."""

import math

from polysilicon.economics.finance import anchor_volume_chips


def test_by_hand():
    assert anchor_volume_chips(500e6, 30_000, 5_000) == 20_000
    assert anchor_volume_chips(500e6, 5_000, 30_000) == math.inf
