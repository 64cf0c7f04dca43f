"""I06: the watch list as a whole: dates, triggers, states, switches."""

import json

from audited import run


def test_every_item_has_a_state_and_a_reason(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps({"maia_share_frac": 0.2, "custom_silicon_usd_frac": 0.1}))
    out = json.loads(run("watch", "--metrics", "m.json", "--today", "2026-07-01", "--json", cwd=tmp_path).stdout)
    states = {i["id"]: i["state"] for i in out["items"]}
    assert len(states) >= 12 and states["pilot-share"] == "triggered" and states["custom-share"] == "open" and states["talks-to-contract"] == "due"
    assert list(states.values()).index("triggered") == 0  # what fires stands first
    assert {f["what"] for f in out["freshness"]} == {"offers", "token_prices", "chip_facts"}
