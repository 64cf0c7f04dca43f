"""C12: decode time of a long context is bytes over the bandwidth of the chips that hold them."""

import pytest
from chip_entry import KNOWN

from polysilicon.silicon.roofline import Work, memory_s


def test_400_gb_on_one_h100_one_gb200_and_five_h100():
    h100, gb200 = KNOWN.chip("H100").need("hbm_gb_per_s"), KNOWN.chip("GB200").need("hbm_gb_per_s")
    work = Work(hbm_bytes=400e9)
    one, other = memory_s(work.hbm_bytes, h100), memory_s(work.hbm_bytes, gb200)
    assert one == pytest.approx(0.1194, abs=1e-4)
    assert other == pytest.approx(0.050, abs=1e-4)
    assert 1 - other / one == pytest.approx(0.58, abs=0.005)
    assert memory_s(work.shared_by(5).hbm_bytes, h100) == pytest.approx(0.0239, abs=1e-4)
