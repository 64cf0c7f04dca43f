"""`polysilicon breakeven` as a finance partner runs it: each number can be redone by hand, each bad amount is named."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from polysilicon.cli.breakeven import app
from polysilicon.errors import InputError


def asked(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_each_closed_form_by_hand(tmp_path):
    assert asked("app", "--value", "0.05", "--tokens", "20000", "--other", "0.01")["viable_usd_per_mtok"] == pytest.approx(2.0)
    assert asked("chip", "--programme", "500e6", "--bought", "30000", "--own", "5000")["anchor_volume_chips"] == 20_000
    assert asked("delay", "--revenue", "1e8", "--months", "3")["delay_cost_usd"] == 3e8
    budget = tmp_path / "port.csv"
    budget.write_text("month,spent_usd,saved_usd\n1,10,0\n2,10,0\n3,0,15\n4,0,15\n")
    assert asked("port", str(budget))["crosses_after_months"] == 4


def test_what_never_pays_is_said():
    told = asked("chip", "--programme", "5e8", "--bought", "3000", "--own", "5000")
    assert told["anchor_volume_chips"] is None and "no volume" in str(told["words"])


def test_a_page_with_the_curve(tmp_path):
    page = tmp_path / "app.html"
    asked("app", "--value", "0.05", "--tokens", "20000", "-o", str(page))
    text = page.read_text()
    assert "<svg" in text and "2.5 $/Mtok" in text and "<script" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["app", "--value", "nan", "--tokens", "1"], "--value: is nan; more than 0"),
        (["app", "--value", "1", "--tokens", "0"], "--tokens: is 0"),
        (["delay", "--revenue", "1", "--months", "2", "--growth", "-1"], "--growth: is -1"),
        (["chip", "--programme", "1", "--bought", "1", "--own", "-2"], "--own: is -2; 0 or more"),
    ],
)
def test_an_amount_that_is_none_is_refused_with_its_place(arguments, said):
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said in str(refused.value)


def test_a_budget_is_read_with_its_line(tmp_path):
    budget = tmp_path / "port.csv"
    budget.write_text("spent_usd,saved_usd\n10,0\n5,much\n")
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, ["port", str(budget)], catch_exceptions=False)
    assert f'{budget}:3: saved_usd is "much"' in str(refused.value)
