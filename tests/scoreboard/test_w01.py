"""W01: talks turn contractual: the item switches the port's stage in a scenario."""

import json

from audited import ROOT, run

from polysilicon.scenario import load

PORTS = """
ports:
  - {model_family: llama, chip_family: maia, engine: own, status: porting, cost_usd: 25.0e+6, lead_months: 6, source: assumed}
"""


def test_the_stage_switches(tmp_path):
    base = (ROOT / "src/polysilicon/data/minimal.yaml").read_text()
    (tmp_path / "s.yaml").write_text(base.rstrip("\n") + "\n" + PORTS)
    watch = (ROOT / "src/polysilicon/data/watch.yaml").read_text()
    (tmp_path / "watch.yaml").write_text(watch.replace("qwen3-moe@maia", "llama@maia"))
    (tmp_path / "m.json").write_text(json.dumps({"maia_contract_signed": 1.0}))
    done = run("watch", "watch.yaml", "--metrics", "m.json", "--scenario", "s.yaml", "-o", "new.yaml", "--today", "2026-06-01", cwd=tmp_path)
    assert "porting -> pilot" in done.stderr
    changed = load(tmp_path / "new.yaml")
    assert next(p for p in changed.ports if p.chip_family == "maia").status == "pilot"
    assert load(tmp_path / "s.yaml").ports[-1].status == "porting"


def test_date_probability_and_effect_are_told():
    items = {i["id"]: i for i in json.loads(run("watch", "--today", "2026-06-01", "--json").stdout)["items"]}
    talks = items["talks-to-contract"]
    assert (talks["due"], talks["days_left"], talks["probability_frac"], talks["state"]) == ("2026-06-20", 19, 0.4, "open")
