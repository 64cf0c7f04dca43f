"""Deals and claims that a scenario refers to become sections of its report."""

from pathlib import Path
from shutil import copy

import pytest

from polysilicon import catalogue
from polysilicon.economics.deal_report import whole
from polysilicon.errors import InputErrors
from polysilicon.portfolio import ContractBill, Period, Plan
from polysilicon.report import Evidence
from polysilicon.report.files import record
from polysilicon.report.page import html, markdown
from polysilicon.scenario import load
from polysilicon.study.deals import bills, papers_of, sections_of

ROOT = Path(__file__).resolve().parents[2]
CLAIM = """polysilicon_claims: 1
title: One claim
claims:
  - {id: c, quote: "twice two is five", quantity: product, stated: {value: 5}, premises: {a: {value: 2, source: own}}, formula: a * a}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy(ROOT / "examples" / "deal-compute-alliance.yaml", tmp_path / "deal.yaml")
    (tmp_path / "claims.yaml").write_text(CLAIM)
    text = (ROOT / "src/polysilicon/data/minimal.yaml").read_text()
    (tmp_path / "s.yaml").write_text(f"{text}\ndeals: [deal.yaml]\nclaims: [claims.yaml]\n")
    return tmp_path


def plan() -> Plan:
    periods = tuple(Period(i, f"{2027 + i}-01-01", 8760.0) for i in range(2))
    lines = tuple(ContractBill("azure-30b", i, 5e9, 5e9, 0.0, 0.0, 0.0, 5e9) for i in range(2))
    return Plan("s", "d", "c", "optimal", 0.0, 0.0, 0.0, 1e10, 0.0, 0.0, 0.0, periods, (), (), lines, ())


def test_sections_with_drawings_in_html_words_in_markdown_numbers_in_json(folder: Path):
    known = catalogue.load()
    papers = papers_of(load(folder / "s.yaml"), known)
    made = sections_of(papers, plan())
    titles = [s.title for s in made]
    assert titles[0].startswith("Deal: ") and {"Money", "Profit and loss", "Ranges", "When leaving pays"} <= set(titles)
    assert titles[-1] == "Claims: One claim" and "1 contradicts its own premises" in made[-1].words[0]
    evidence = Evidence(plan=plan(), title="t", sections=made)
    page, text, numbers = html(evidence), markdown(evidence), record(evidence)
    assert page.count('<figure class="drawn">') >= 6  # who pays whom, burn-down, waterfall, fan, tornado, heat map, claims
    assert 'href="#x1"' in page and "## Deal: Anthropic" in text and "### Money" in text
    assert [s["title"] for s in numbers["sections"]] == titles


def test_the_plans_bill_stands_beside_the_deals(folder: Path):
    papers = papers_of(load(folder / "s.yaml"), catalogue.load())
    (row,) = bills(whole(papers.deals[0], draws=0), plan())
    assert row == ("azure-30b", 10.0, pytest.approx(4.5 + 6.0), 30.0, "announced")  # years 2027 and 2028 of the draw schedule


def test_a_lost_or_broken_file_is_named_before_anything_is_planned(folder: Path):
    (folder / "claims.yaml").write_text(CLAIM.replace("a * a", "a / 0"))
    with pytest.raises(InputErrors, match="claim c: "):
        papers_of(load(folder / "s.yaml"), catalogue.load())
    (folder / "deal.yaml").unlink()
    with pytest.raises(InputErrors, match=r'deals\[0\]: "deal.yaml" is not a file'):
        load(folder / "s.yaml")
