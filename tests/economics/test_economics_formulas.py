"""Money: identities, limits and the published golden numbers."""

import json
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polysilicon.economics import finance
from polysilicon.economics.cost import Rack, chip_hour, price_table
from polysilicon.economics.cost_report import storage_on_sale
from polysilicon.economics.cost_spread import cost_spread, published, ranges_of
from polysilicon.economics.lockin import heat, surface
from polysilicon.economics.options import option_usd
from polysilicon.economics.references import own_facts
from polysilicon.economics.tokens import cache_costs, deepseek_day
from polysilicon.economics.watch import Change, apply, read_watch
from polysilicon.errors import InputError, InputErrors
from polysilicon.facts import BASES


def test_annuity_tends_to_one_over_n():
    for years in (3, 5, 15):
        assert finance.capital_recovery_per_year(0.0, years) == 1 / years
        assert finance.capital_recovery_per_year(1e-13, years) == pytest.approx(1 / years, rel=1e-9)
        assert finance.capital_recovery_per_year(1e-6, years) == pytest.approx(1 / years, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 0.5), st.integers(1, 30))
def test_annuity_repays_what_was_lent(rate, years):
    payment = finance.capital_recovery_per_year(rate, years)
    assert finance.npv_usd([(0, -1.0), *[(t, payment) for t in range(1, years + 1)]], rate) == pytest.approx(0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 1e6), st.lists(st.floats(1, 1e6), min_size=1, max_size=8))
def test_internal_rate_of_return(out, back):
    flows = [(0.0, -out), *[(float(t + 1), usd) for t, usd in enumerate(back)]]
    rate = finance.irr_frac(flows)
    assume(rate is not None)
    assert finance.npv_usd(flows, rate) == pytest.approx(0, abs=1e-6 * (out + sum(back)))


def test_deepseeks_published_day():
    day, recomputed = deepseek_day()
    assert round(day.cost_usd, 2) == 87_072.00
    assert recomputed == pytest.approx(562_100, abs=1) and day.revenue_usd == 562_027
    assert str(day.margins) == "profit over cost 545%, gross margin 84.5%"


def test_cost_of_ownership_table():
    rows = price_table(Rack(), [2.0, 2.5, 3.0, 4.0, 5.0, 6.0])
    assert [round(100 * r.accounting_margin_frac) for r in rows] == [12, 29, 41, 56, 65, 71]
    assert [round(100 * r.economic_margin_frac) for r in rows] == [-18, 5, 21, 41, 53, 61]
    assert [round(r.chips / 1e3) for r in rows] == [342, 274, 228, 171, 137, 114]
    assert round(chip_hour(Rack()).total_usd, 2) == 2.78


def test_its_range_and_what_moves_it():
    found = cost_spread(Rack())
    s = found.usd_per_chip_hour
    told = published()
    assert (told.p10, told.p50, told.p90) == (2.68, 3.23, 3.96)
    assert (s.p10, s.p50, s.p90) == pytest.approx((2.55, 3.13, 3.82), rel=0.01)  # of sourced ranges: 3 to 5 % under the published ones
    assert [b.driver for b in found.bars[:3]] == ["rack_usd", "it_years", "sold_frac"]
    assert found == cost_spread(Rack()) and found != cost_spread(Rack(), seed=8)


def test_every_end_of_a_range_has_a_source_and_what_is_stated_has_no_range():
    assert all(d.source and d.low <= d.base <= d.high for d in ranges_of(Rack()))
    assert [d.name for d in ranges_of(Rack()) if d.source == "assumed"] == ["opex_frac"]
    cheap = Rack(rack_usd=1e6)
    assert next(d for d in ranges_of(cheap) if d.name == "rack_usd").low == 1e6  # outside its range: stretched, not moved
    known = cost_spread(cheap, stated=("rack_usd",))
    assert "rack_usd" not in {b.driver for b in known.bars} and known.usd_per_chip_hour.p90 < 2.78
    with pytest.raises(InputError, match="nothing is uncertain"):
        cost_spread(Rack(), stated=[d.name for d in ranges_of(Rack())])


def test_what_holds_a_cached_token():
    kv = 2 * 80 * 8 * 128 * 2  # Llama 70B in bf16
    host, hbm = cache_costs(kv, usd_per_chip_hour=3.72, hbm_gb=186, held_hours=0.5)
    assert hbm.usd_per_mtok == pytest.approx(kv * 1e6 / 1e9 * 3.72 / 186 / 2)
    assert host.usd_per_mtok_hour == pytest.approx(kv * 1e6 / 2**30 * 0.004237)
    on_sale = storage_on_sale()
    assert min(on_sale.values()) < host.usd_per_mtok_hour < max(on_sale.values())  # providers charge 1.00 and 4.50
    assert cache_costs(kv, usd_per_chip_hour=3.0, hbm_gb=186)[0].usd_per_mtok == pytest.approx(host.usd_per_mtok_hour / 12)
    with pytest.raises(InputError):
        cache_costs(kv, usd_per_chip_hour=3.0, hbm_gb=186, held_hours=-1.0)


def test_port_break_even_table():
    points = {(p.spend_usd_per_year, p.horizon_years): p.gain_frac for p in surface([0.05e9, 0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9])}
    assert points[0.05e9, 3.0] is None
    assert [round(100 * points[b, 3.0]) for b in (0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9)] == [317, 88, 42, 31, 24, 22]
    assert round(100 * points[1e9, 5.0]) == 19
    row = [p["npv_usd"] for p in heat([1e9], [0.2, 0.3, 0.4])]
    assert row == sorted(row) and row[1] < 0 < row[2]


def test_an_option_is_worth_at_least_its_gain_and_no_more_than_the_forward():
    for forward in (50.0, 100.0, 200.0):
        worth = option_usd(forward, 100.0, volatility_frac=0.4, years=2, rate_frac=0.0)
        assert max(0.0, forward - 100.0) <= worth <= forward
    with pytest.raises(InputError):
        option_usd(-1.0, 1.0, volatility_frac=0.1, years=1, rate_frac=0.0)


@pytest.mark.parametrize(
    "wrong",
    [lambda: finance.stake_frac(2.0, 1.0), lambda: finance.implied_post_money_usd(1.0, 0.0), lambda: finance.margins(0.0, 1.0),
     lambda: finance.cost_cut_frac(-1.0), lambda: Rack(pue=0.9),
     lambda: Rack(sold_frac=0.0), lambda: finance.capital_recovery_per_year(0.1, 0), lambda: finance.tokens_per_month(1.0, 1.0, 0.0)],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_every_fact_of_ours_has_source_unit_and_basis():
    from polysilicon.economics.quantity import parse_unit

    for fact in own_facts():
        assert fact.source and fact.as_of and fact.basis in BASES and parse_unit(fact.unit)


def test_scenario_changes_lead_somewhere_or_say_so():
    scenario = {"ports": [{"model_family": "a", "chip_family": "b", "status": "porting"}], "horizon": {"months": 12}}
    assert apply(scenario, [Change(path="ports[a@b].status", value="pilot")]) == ["ports[a@b].status: porting -> pilot"]
    assert scenario["ports"][0]["status"] == "pilot"
    for path in ("ports[x@y].status", "nothing.here", "horizon.months.deep"):
        with pytest.raises(InputError, match="path"):
            apply(scenario, [Change(path=path, value="x")])


def test_a_wrong_watch_file_says_where(tmp_path):
    (tmp_path / "w.yaml").write_text("polysilicon_watch: 1\nitems:\n  - id: a\n    title: t\n    trigger: {metric: m}\n")
    with pytest.raises(InputErrors, match="above") as caught:
        read_watch(tmp_path / "w.yaml")
    assert "w.yaml:5:" in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("tco", "--json", "--draws", "64"),
        ("prices", "--json"),
        ("lockin", "--json"),
        ("watch", "--json"),
        ("deals", "--json"),
        ("audit", "--json", "--only", "A-50"),
    ],
)
def test_every_verb_prints_one_json_document(arguments, capfdbinary, monkeypatch):
    assert command(monkeypatch, arguments) == 0
    assert isinstance(json.loads(capfdbinary.readouterr().out), dict)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("tco", "--set", "nothing=1"), "a rack has no nothing"), (("tco", "--set", "pue"), "NAME=NUMBER"), (("prices", "gpt-9"), "not known"),
     (("deal", "missing.yaml"), "cannot be read"), (("audit", "--only", "Z-99"), "no claim"), (("watch", "--today", "never"), "not a date"),
     (("deals", "--rank", "beauty"), "not known"), (("watch", "--toggles"), "needs a --scenario")],
)  # fmt: skip
def test_expected_errors_are_not_tracebacks(arguments, words, capfd, monkeypatch):
    assert command(monkeypatch, arguments) in (1, 2)
    told = capfd.readouterr().err
    assert words in told and "Traceback" not in told


def command(monkeypatch, arguments):
    """Run the command line in this process; return its exit code."""
    from polysilicon.cli.app import main

    monkeypatch.setattr(sys, "argv", ["polysilicon", *arguments])
    monkeypatch.setenv("NO_COLOR", "1")
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0
