"""K03: Google Cloud with TPUs and GPUs, imported from SkyPilot's list."""

import pytest
from chip_entry import KNOWN

from polysilicon.exchange.skypilot import read_vms

LIST = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
TPU-VM,,,tpu-v5p-8,1,,us-east5,us-east5-a,16.8,6.72
TPU-VM,,,tpu-v6e-8,1,,us-east5,us-east5-a,21.6,9.72
TPU-VM,,,tpu-v6e-4,1,,asia-east1,asia-east1-a,700.0,
"""


def test_import_yields_v5p_and_v6e_and_drops_what_is_not_sold(tmp_path):
    file = tmp_path / "vms.csv"
    file.write_text(LIST)
    offers = {o["id"]: float(o["usd_per_chip_hour"]) for o in read_vms(file, "gcp", KNOWN, quoted_on="2026-11").offers}
    assert offers["gcp-us-east5-tpu-v5p-on-demand"] == pytest.approx(4.2)
    assert offers["gcp-us-east5-tpu-v6e-on-demand"] == pytest.approx(2.7)
    assert not any("asia-east1" in name for name in offers)


def test_embedded_offers_hold_v5p_v6e_and_v7():
    assert {"tpu-v5p", "tpu-v6e", "tpu-v7", "h100-sxm", "h200-sxm"} <= {o.chip for o in KNOWN.offers.values() if o.cloud == "gcp"}
