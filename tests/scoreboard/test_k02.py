"""K02: AWS with Trainium, Inferentia and GPUs, imported from SkyPilot's list."""

import csv

from command import run

LIST = """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
p5.48xlarge,H100,8,192,2048,,55.04,10.24,us-east-1,us-east-1a
trn1.32xlarge,Trainium,16,128,512,,21.5,2.43,us-east-1,us-east-1a
trn2.48xlarge,Trainium2,16,192,2048,,,23.0631,us-east-2,us-east-2b
inf2.48xlarge,Inferentia2,12,192,384,,12.98,4.1,us-east-2,us-east-2b
"""


def test_import_yields_trainium_and_h100_with_price_and_spot_price(tmp_path):
    (tmp_path / "vms.csv").write_text(LIST)
    run("import", "skypilot", "vms.csv", "--cloud", "aws", "-o", "o.csv", cwd=tmp_path)
    rows = {
        (r["chip"], r["kind"]): float(r["usd_per_chip_hour"])
        for r in csv.DictReader((tmp_path / "o.csv").read_text().splitlines())
    }
    assert rows["h100-sxm", "on_demand"] == 6.88
    assert rows["h100-sxm", "spot"] == 1.28
    assert rows["trainium1", "on_demand"] == 1.34375
    assert ("trainium2", "spot") in rows and ("trainium2", "on_demand") not in rows
    assert ("inferentia2", "on_demand") in rows
