"""U04: what changed between two snapshots of the catalogue."""

import json

from command import run

HEAD = "id,cloud,region,chip,kind,usd_per_chip_hour,source,basis,quoted_on\n"


def test_diff_command_between_two_versions(tmp_path):
    (tmp_path / "old.csv").write_text(
        HEAD + "x,c,r,h100-sxm,on_demand,2.0,s,list_price,2026-01-01\ngone,c,r,h100-sxm,on_demand,9,s,list_price,2026-01-01\n"
    )
    (tmp_path / "new.csv").write_text(HEAD + "x,c,r,h100-sxm,on_demand,2.5,s,list_price,2026-02-01\n")
    document = json.loads(run("catalogue-diff", "old.csv", "new.csv", "--json", cwd=tmp_path).stdout)
    changes = {(c["subject"], c["parameter"]): c for c in document["changes"]}
    assert changes["x", "usd_per_chip_hour"]["ratio"] == 1.25
    assert changes["gone", "usd_per_chip_hour"]["new"] is None
    assert {subject for subject, _ in changes} == {"x", "gone"}
    assert document["old"] != document["new"]
