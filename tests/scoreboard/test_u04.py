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


def test_changes_as_a_feed_to_subscribe_to(tmp_path):
    (tmp_path / "new.csv").write_text(HEAD + "x,c,r,h100-sxm,on_demand,2.5,s,list_price,2026-02-01\n")
    run("catalogue-diff", "embedded", "new.csv", "--feed", "feed.json", cwd=tmp_path)
    feed = json.loads((tmp_path / "feed.json").read_text())
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert any(i["title"] == "offer x" and "2.5" in i["content_text"] for i in feed["items"])
    assert len({i["id"] for i in feed["items"]}) == len(feed["items"])
