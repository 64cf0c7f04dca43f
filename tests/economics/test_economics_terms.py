"""A deal's terms on their way out and back: FOCUS commitments, sections of a scenario, and what a plan does with them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import catalogue, planner, scenario
from polysilicon.cloud.contract import BillingPeriod, Contract, DiscountTier, Usage, UsageLine
from polysilicon.economics.deal import ExclusivityPart, contract_of, deal_from, read_deal
from polysilicon.economics.library import library, select, totals
from polysilicon.economics.sections import of_contracts, sections
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange import focus
from polysilicon.scenario.document import parse_document

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "deal-compute-alliance.yaml"
SCENARIO = """
polysilicon: 1
name: small
horizon: {start: 2027-01-01, months: 12, period: quarter}
workloads:
  - {id: chat, model: gpt-oss-120b, traffic: {profile: chat, mean_rps: 100}, slo: {ttft_s: 1.0, tpot_s: 0.03}}
"""
BOND = "\nexclusivity:\n  - {bound: anthropic, to: microsoft, scope: assistants, until: UNTIL, status: signed}\n"


def polysilicon(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from polysilicon.cli.app import main; main()", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip


def changed(*swaps, more=""):
    text = EXAMPLE.read_text() + more
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    return deal_from(parse_document(text, "d.yaml"))


# --- FOCUS ---------------------------------------------------------------------------------------

DAYS = ("2027-03-01", "2027-07-01", "2028-01-01", "2029-01-01")
dollars = st.integers(0, 10**9).map(float)


@st.composite
def contracts(draw):
    steps = sorted(draw(st.lists(dollars, min_size=1, max_size=4)))
    return Contract(
        "c",
        "azure",
        draw(st.sampled_from(focus.KINDS)),
        "2027-01-01",
        "2029-01-01",
        commit_usd=steps[-1],
        draw_schedule=tuple(zip(DAYS[4 - len(steps) :], steps, strict=True)) if steps[-1] and len(steps) > 1 else (),
        take_or_pay_frac=draw(st.floats(0, 1)),
        rollover=draw(st.booleans()),
        exclusive=draw(st.booleans()),
        signed=draw(st.booleans()),
        discount_tiers=draw(st.sampled_from([(), (DiscountTier(0.0, 0.1), DiscountTier(1e6, 0.25))])),
        eligible=draw(st.sampled_from([(), ("azure-*", "x")])),
        chips=draw(st.none() | st.floats(1, 1e6)),
        chip=draw(st.sampled_from(["", "gb200"])),
        ramp_mw=draw(st.sampled_from([(), (("2027-06-01", 10.0), ("2028-06-01", 20.5))])),
        drawn_before_usd=draw(st.none() | dollars),
        usd_per_month=draw(dollars),
        source="letter, page 3",
    )


@settings(max_examples=40, deadline=None)
@given(terms=contracts())
def test_terms_come_back_whole(terms, tmp_path_factory):
    path = tmp_path_factory.mktemp("focus") / "c.csv"
    path.write_bytes(focus.csv_bytes(focus.commitment_rows([terms])))
    (back,) = focus.read_commitments(path)
    assert back == terms


def rows(**changes):
    row = focus.commitment_rows([contract_of(read_deal(EXAMPLE).commitments[0].contract)])[0]
    return focus.csv_bytes([row | changes])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ContractCommitmentCost": "-1"}, "negative"),
        ({"ContractCommitmentCost": "NaN"}, "not a number"),
        ({"ContractCommitmentCost": "lots"}, "not a number"),
        ({"BillingCurrency": "EUR"}, "only USD"),
        ({"ContractPeriodEnd": "2020-01-01"}, "not after its start"),
        ({"ContractCommitmentPeriodEnd": "soon"}, "soon"),
        ({"ContractCommitmentPeriodEnd": "2035-01-01"}, "leaves the contract's dates"),
        ({"x_TakeOrPayShare": "1.5"}, "is a share"),
        ({"x_Rollover": "perhaps"}, "true or false"),
        ({"x_RampMw": "2027-01-01"}, "x_RampMw"),
        ({"ContractCommitmentId": ""}, "is empty"),
        ({"ContractCommitmentType": "lese", "ContractCommitmentCategory": "Usage"}, 'did you mean "lease"'),
        ({"x_Cloud": ""}, "whose cloud"),
    ],
)
def test_a_wrong_commitment_says_its_line(changes, words, tmp_path):
    (tmp_path / "c.csv").write_bytes(rows(**changes))
    with pytest.raises(InputErrors, match=words) as caught:
        focus.read_commitments(tmp_path / "c.csv")
    assert "c.csv:2" in str(caught.value)


def test_steps_that_overlap_or_disagree_are_refused(tmp_path):
    good = focus.commitment_rows([contract_of(read_deal(EXAMPLE).commitments[0].contract)])
    (tmp_path / "c.csv").write_bytes(focus.csv_bytes([good[0], good[1] | {"ContractCommitmentPeriodStart": "2026-06-01"}]))
    with pytest.raises(InputErrors, match="overlaps"):
        focus.read_commitments(tmp_path / "c.csv")
    (tmp_path / "c.csv").write_bytes(focus.csv_bytes([good[0], good[1] | {"x_Rollover": "false"}]))
    with pytest.raises(InputErrors, match="x_Rollover differs"):
        focus.read_commitments(tmp_path / "c.csv")


def test_another_tools_commitment_is_a_committed_spend(tmp_path):
    (tmp_path / "c.csv").write_bytes(rows(ContractCommitmentType="MACC", ContractPeriodStart="2026-01-01T00:00:00Z", x_Cloud=""))
    (back,) = focus.read_commitments(tmp_path / "c.csv", cloud="azure")
    assert (back.kind, back.cloud, back.start) == ("committed_spend", "azure", "2026-01-01")


def test_commitments_go_out_and_come_in_by_command(tmp_path):
    out = polysilicon("deal", EXAMPLE, "--draws", "0", "--commitments", "c.csv", cwd=tmp_path)
    assert out.returncode == 0 and "wrote c.csv: 1 contracts" in out.stderr
    assert polysilicon("import", "focus-commitments", "c.csv", "-o", "s.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "full.yaml").write_text(SCENARIO + (tmp_path / "s.yaml").read_text())
    resolved = scenario.resolve(scenario.load(tmp_path / "full.yaml"), catalogue.load())
    assert resolved.contracts == (contract_of(read_deal(EXAMPLE).commitments[0].contract),)

    (tmp_path / "bad.csv").write_bytes(rows(ContractCommitmentCost="lots"))
    failed = polysilicon("import", "focus-commitments", "bad.csv", "-o", "n.yaml", cwd=tmp_path)
    assert failed.returncode == 1 and "bad.csv:2" in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "n.yaml").exists()


def test_an_id_that_a_scenario_cannot_say_is_refused_in_words():
    with pytest.raises(InputErrors, match='contract "<b>": id'):
        of_contracts([Contract("<b>", "azure", "committed_spend", "2027-01-01", "2028-01-01", commit_usd=1.0)])


# --- sections of a scenario ----------------------------------------------------------------------


def offers():
    return tuple(catalogue.load().offers.values())


def resolved(found, tmp_path):
    (tmp_path / "full.yaml").write_text(SCENARIO + found.yaml("From a deal."))
    return scenario.resolve(scenario.load(tmp_path / "full.yaml"), catalogue.load())


def test_the_scenarios_contract_bills_what_the_deals_does(tmp_path):
    deal = read_deal(EXAMPLE)
    (terms,) = resolved(sections(deal, offers()), tmp_path).contracts
    usage = Usage(
        tuple(BillingPeriod(f"{y}-01-01", f"{y + 1}-01-01", 8760.0) for y in range(2026, 2031)),
        tuple(UsageLine(i, "azure-x", "azure", hours, "chip-hour", 2.0) for i, hours in enumerate((1e9, 2e9, 1e9, 4e9, 9e9))),
    )
    assert terms.bill_usd(usage) == contract_of(deal.commitments[0].contract).bill_usd(usage) >= 30e9


def test_talks_and_letters_reach_no_plan_and_are_named(tmp_path):
    found = sections(changed(("status: announced\n    source: joint", "status: letter\n    source: joint")), offers())
    assert found.contracts == () and any("azure-30b" in words and "letter" in words for words in found.left_out)
    assert found.own == () and any("gb200" in words and "talks" in words for words in found.left_out)


def test_a_priority_right_is_one_early_offer_and_later_ones_for_all(tmp_path):
    found = sections(changed(("status: talks", "status: signed")), offers())
    mine = {o.id: o for o in resolved(found, tmp_path).offers if o.chip == "gb200" and o.kind in ("on_demand", "reserved")}
    early = [o for o in mine.values() if o.available_from == "2026-07-01"]
    assert len(early) == 1 and early[0].max_chips == 50_000 and early[0].cloud == "azure"
    assert len(mine) > 1 and all(o.available_from >= "2027-01-01" for o in mine.values() if o not in early)


@pytest.mark.parametrize(("until", "names"), [("2031-01-01", {"azure-30b"}), ("2028-01-01", {"azure-30b-exclusivity"})])
def test_exclusivity_binds_until_its_day(until, names, tmp_path):
    found = sections(changed(more=BOND.replace("UNTIL", until)), offers())
    bound = [c for c in resolved(found, tmp_path).contracts if c.exclusive]
    assert {c.id for c in bound} == names and {c.end for c in bound} == {until}


def test_exclusivity_that_is_over_or_only_talked_about_binds_nothing():
    over = sections(changed(more=BOND.replace("UNTIL", "2025-12-31")), offers())
    talked = sections(changed(more=BOND.replace("UNTIL", "2030-01-01").replace("signed", "talks")), offers())
    for found in (over, talked):
        assert not any(c.exclusive for c in found.contracts) and any("left out" in words for words in found.left_out)


def test_a_plan_honours_the_exclusivity_of_a_deal(tmp_path):
    sys.path.append(str(ROOT / "tests" / "planner"))
    from world import offer, table, work, world

    chat = work(rps=100.0)
    cheap, dear = offer("h100", 1.0, cloud="aws", region="us-east-1"), offer("h100", 3.0)
    deal = read_deal(EXAMPLE)
    bond = ExclusivityPart(bound="anthropic", to="microsoft", scope="all", until=date(2026, 7, 1), status="signed")
    terms = sections(deal.model_copy(update={"exclusivity": (bond,)}), ()).contracts
    held = tuple(contract_of(part) for part in terms if part.exclusive)

    def clouds(contracts):
        plan = planner.plan(world([chat], [cheap, dear], months=12, contracts=contracts), table([chat]), gap_frac=1e-6)
        return [{h.cloud for h in plan.holdings if h.period == i and h.chips > 0} for i in range(4)]

    assert clouds(()) == [{"aws"}] * 4
    assert clouds(held) == [{"azure"}, {"azure"}, {"aws"}, {"aws"}]


def test_whose_scenario_must_be_known():
    with pytest.raises(InputError, match="commits to nothing"):
        sections(read_deal(EXAMPLE), offers(), buyer="nvidia")


# --- other commands ------------------------------------------------------------------------------


def test_leaving_counts_the_data_that_moves(tmp_path):
    out = json.loads(polysilicon("lockin", "--egress", "1000@0.05", "--json", cwd=tmp_path).stdout)["lock_in"]
    assert out["egress_usd"] == pytest.approx(1000 * 1000 * 0.05)
    parts = ("porting_usd", "efficiency_usd", "stranded_usd", "egress_usd")
    assert out["total_usd"] == pytest.approx(sum(out[p] for p in parts)) and out["index_frac"] == pytest.approx(out["total_usd"] / 1e9)
    for wrong in ("abc", "1@2@3", "-1@0.05", "nan@1"):
        failed = polysilicon("lockin", f"--egress={wrong}", cwd=tmp_path)
        assert failed.returncode == 1 and "--egress" in failed.stderr and "Traceback" not in failed.stderr


def test_both_ratios_of_a_price_and_the_published_day_are_told(tmp_path):
    words = " ".join(polysilicon("tco", "--draws", "64", cwd=tmp_path).stdout.split())
    assert "cost 87,072 $, revenue 562,027 $" in words and "profit over cost 545%, gross margin 84.5%" in words
    assert "profit over cost" in words and " 3 70% 41% 21% 228,311" in words  # 3 $ over 1.76 $


def test_tokens_cost_by_kind_and_racks_are_written_off(tmp_path):
    out = json.loads(polysilicon("tco", "--tok-per-s", "10000:800", "--draws", "64", "--json", cwd=tmp_path).stdout)
    kinds, hour = out["token_cost"], out["chip_hour"]["total_usd"]
    assert kinds["input_usd_per_mtok"] == pytest.approx(hour / 36.0) and kinds["output_usd_per_mtok"] == pytest.approx(hour / 2.88)
    assert kinds["cached_usd_per_mtok"] is None and out["usd_per_mtok"] == kinds["output_usd_per_mtok"]  # unknown is not free
    held = json.loads(
        polysilicon("tco", "--tok-per-s", "10000:800", "--cache", "llama-3.3-70b@0.25", "--draws", "64", "--json", cwd=tmp_path).stdout
    )
    assert held["token_cost"]["cached_usd_per_mtok"] == pytest.approx(0.25 * 327.68e9 / 2**30 * 0.004237)
    assert {how: values[-1] for how, values in out["book_value_usd_by_year"].items()} == pytest.approx(
        {"straight_line": 0.0, "double_declining": 0.0, "sum_of_years": 0.0}, abs=1e-6
    )
    for wrong in ("fast", "1:2:3", "0", "10:-1"):
        failed = polysilicon("tco", f"--tok-per-s={wrong}", cwd=tmp_path)
        assert failed.returncode == 1 and "--tok-per-s" in failed.stderr and "Traceback" not in failed.stderr


def test_deals_rank_by_chip_year():
    watts = {chip.id: chip.all_in_w for chip in catalogue.load().chips.values()}
    ranked = select(library(), rank="usd-per-chip-year", all_in_w=watts)
    units = [d.chip_year(watts) for d in ranked]
    known = [u.usd for u in units if u is not None]
    assert len(known) >= 4 and [None if u is None else u.usd for u in units[: len(known)]] == sorted(known, reverse=True)
    by_id = {d.id: u for d, u in zip(ranked, units, strict=True)}
    assert by_id["openai-cerebras"].usd == pytest.approx(10e9 / 3 / (0.75e9 / 23_000))  # its own wafers, by hand
    campus = by_id["microsoft-iren"]  # GB300 on campus power
    assert (campus.kind, campus.usd) == ("own", pytest.approx(9.7e9 / 5 / (0.75e9 / 1.2 / 1888.9))) and "PUE of 1.2" in campus.words
    assert by_id["meta-amd"].kind == "stand-in" and by_id["anthropic-aws"].kind == "yardstick" and by_id["openai-aws"] is None
    counted = replace(library()[0], amount_usd=1e9, years=2.0, chip_count=1e5)
    assert counted.chip_year({}).usd == pytest.approx(5000.0) and counted.chip_year({}).kind == "stated"


def test_a_letter_adds_nothing_to_any_total():
    deals = library()
    some = replace(deals[0], amount_usd=1e12, same_as="")
    letter = replace(some, id="l", group="letter", status="announced")
    as_contract = replace(some, id="m", group="commitment", status="letter")
    assert totals([*deals, letter, as_contract]) == totals(deals)


def test_an_audit_that_fails_writes_nothing(tmp_path):
    head = "claim_id,quote_short,quantity,stated_value,unit,premises,formula\n"
    row = "x,<script>alert(1)</script>,q,1,B$,a=1[B$|s],a\n"
    (tmp_path / "twice.csv").write_text(head + row + row)
    (tmp_path / "reach.csv").write_text(head + row.replace("|s],a\n", '|s],"__import__(""os"").getcwd()"\n'))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00claim_id")
    for name, words in (("twice.csv", "given twice"), ("reach.csv", "reach.csv:2"), ("bytes.csv", "UTF-8"), ("none.csv", "cannot be read")):
        failed = polysilicon("audit", name, "-o", "o.html", cwd=tmp_path)
        assert failed.returncode == 1 and words in failed.stderr and "Traceback" not in failed.stderr, failed.stderr
    (tmp_path / "good.csv").write_text(head + row)
    for more, words in ((("--only", "nope", "-o", "o.html"), "nope"), (("-o", "o.xlsx"), "cannot be written")):
        failed = polysilicon("audit", "good.csv", *more, cwd=tmp_path)
        assert failed.returncode == 1 and words in failed.stderr
    assert not list(tmp_path.glob("o.*"))
    done = polysilicon("audit", "good.csv", "-o", "o.html", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["claims"][0]["verdict"] == "holds" and "<script" not in (tmp_path / "o.html").read_text()
