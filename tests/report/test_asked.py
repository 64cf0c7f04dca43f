"""Sections that answer a negotiator: the same numbers in every form, dashes where nobody priced the loss, charts that draw."""

import json
import re
from dataclasses import replace

import pytest
from sample import HOSTILE, evidence
from test_report import CHROMIUM, opened

from polysilicon import report
from polysilicon.report import answers, contents, page
from polysilicon.report.asked import Asked, Comparison, FrontierPoint, PortBreakEven, PortSurface, ShockCase, SupplierWorth

MOVABLE = {"1 hour": 0.1, "30 days": 0.4, "6 months": 1.0}
ASKED = Asked(
    suppliers=(
        SupplierWorth("cloud", "azure", 0.8, 9e8, 2.5e8, 1.1e8, 0.0, 1.28, 1.9, MOVABLE, 1.6e8),
        SupplierWorth("vendor", HOSTILE, 0.9, 9e8, None, None, 0.31, None, None, {}, None),
    ),
    comparisons=(Comparison("a", HOSTILE, None, 1e9, 1.2e9, 0.9e9, 1e6, {"a": 0.0, "b": 0.0, "both": 0.0, "neither": 0.4}),),
    ports=(PortBreakEven("deepseek", HOSTILE, 25e6, 9.0, 1e9, 0.31, 0.31, 1.4, "", False),),
    surface=PortSurface((0.1, 0.5), (1e8, 1e9), ((-5e7, -2e7), (-1e7, 2e8)), "25 M$ once"),
    shocks=(ShockCase("cloud azure out for 30 days", 2e7, 10.0, 0.01, False), ShockCase(HOSTILE, None, 5e5, 0.9, True)),
    frontier=(FrontierPoint("resilience:cloud", "90%", 1e9, 0.2), FrontierPoint("carbon", "at most 5 t", None, None)),
    effort={"negotiate": "9 re-solves of one program, 12 s"},
)
KEYS = ("suppliers", "comparisons", "ports", "shocks", "frontier")


@pytest.fixture(scope="module")
def told():
    return replace(evidence(4), asked=ASKED)


def test_every_answer_is_a_section_a_table_and_a_file(told, tmp_path):
    paths = report.write(told, tmp_path)
    html, tables = paths["report.html"].read_text(), json.loads(paths["report.json"].read_text())["tables"]
    for key, anchor in zip(KEYS, ("suppliers", "compared", "ports", "stress", "frontier"), strict=True):
        assert f'<h2 id="{anchor}">' in html and f'href="#{anchor}"' in html
        assert tables[key] and f"tables/{key}.parquet" in paths
    assert "9 re-solves of one program, 12 s." in html
    assert "<script>alert" not in re.sub(r"<script.*?</script>", "", html.split("<main")[1], flags=re.S)


def test_what_was_not_asked_has_no_section():
    html = page.html(evidence(2))
    assert not any(f'id="{anchor}"' in html for anchor in ("suppliers", "compared", "ports", "stress", "frontier"))


def test_dollars_of_a_loss_nobody_priced_are_a_dash_and_say_why(told):
    rows = answers.suppliers(ASKED).records()
    lost = next(r for r in rows if r["worth_usd"] is None)
    assert lost["unserved_frac"] == 0.31 and lost["indifference_factor"] is None
    assert answers.UNPRICED in answers.suppliers(ASKED).note and answers.UNPRICED in answers.shocks(ASKED).note
    both = next(r for r in answers.comparisons(ASKED).records() if r["kept"] == "both")
    assert both["saved_usd"] is None and both["usd_per_mtok"] == pytest.approx(900.0)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the report with")
def test_the_charts_draw(told, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page.html(told))
    dom, _ = opened(file, tmp_path)
    assert dom.count('class="marks"') == len(contents.drawn(told)) and {"suppliers", "shocks", "surface", "frontier"} <= set(contents.drawn(told))
