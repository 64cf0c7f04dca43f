"""The examples of the documents are run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from polysilicon.catalogue import load
from polysilicon.catalogue.rows import FACT_COLUMNS

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "guides/add-a-chip-or-cloud.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[1]


def test_examples_of_the_concept_page():
    done = doctest.testfile(str(DOCS / "concepts/catalogue.md"), module_relative=False)
    assert done.attempted > 8
    assert done.failed == 0


def test_the_fact_overlay_of_the_guide(tmp_path):
    assert block("csv").startswith(",".join(FACT_COLUMNS))
    (tmp_path / "facts.csv").write_text(block("csv"))
    known = load(tmp_path / "facts.csv")
    assert known.chip("H100").tdp_w == 650
    assert known.offer("azure-centralus-maia-200-quote-only").usd_per_chip_hour == 4.2


def test_the_yaml_overlay_of_the_guide(tmp_path):
    (tmp_path / "ours.yaml").write_text(block("yaml"))
    known = load(tmp_path / "ours.yaml")
    assert known.chip("mtia-3").hbm_gb_per_s == 8000
    assert known.system("mtia-rack").rack_kw == 80
    assert known.offer("ours-mtia").pool == "mtia-3@ours/us-ohio"
    assert known.model("claude-opus-5-5").id == "our-tier-1"
    assert known.model("our-tier-1").total_params > 1.2e12
    assert known.port("deepseek-mla", "mtia").lead_months == 9
    assert known.sites["ours/us-ohio"].usd_per_kwh == 0.055
