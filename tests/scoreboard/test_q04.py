"""Q04: is this deal profitable, for each party, with bands?"""

import json

from audited import EXAMPLE, run


def test_a_verdict_and_a_band_for_each_party():
    out = json.loads(run("deal", str(EXAMPLE), "--draws", "128", "--json").stdout)
    views = {v["party"]: v for v in out["parties"]}
    assert set(views) == {"anthropic", "microsoft", "nvidia"} and all(v["verdict"] for v in views.values())
    for party, view in views.items():
        band = out["uncertainty"]["outcomes"][f"{party}: net present value with what it owns"]
        assert band["p10"] < band["p50"] < band["p90"] and band["p10"] < view["npv_with_values_usd"] * 1.6
