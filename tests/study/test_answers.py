"""A report's answers are the commands' answers: the same program, asked the same way; nothing slow is asked unasked."""

from __future__ import annotations

import pytest
from small_scenarios import TINY

from polysilicon import catalogue as catalogues
from polysilicon import study
from polysilicon.errors import PolysiliconError, UsageError
from polysilicon.planner import leverage, stress, thresholds
from polysilicon.scenario import load_text
from polysilicon.study.answers import answers_of
from polysilicon.study.evidence import evidence_of

TWO = TINY.replace(
    "usd_per_chip_hour: 3.0}",
    "usd_per_chip_hour: 3.0}\n    - {id: other, cloud: aws, region: us-east-1, chip: gb200, kind: on_demand, usd_per_chip_hour: 4.5}",
).replace("slo: {ttft_s: 1.0", "unserved_usd_per_mtok: 5.0\n    slo: {ttft_s: 1.0")


@pytest.fixture(scope="module")
def result():
    known = catalogues.load()
    return study.run(load_text(TWO, "s.yaml", known), known, proof=False)


@pytest.fixture(scope="module")
def asked(result):
    return answers_of(result, ("negotiate", "stress", "frontier", "slo"), pairs=(("mine", "other"),))


def test_suppliers_are_what_negotiate_says(result, asked):
    said = {s.name: s for s in leverage.negotiate(result.tables)}
    azure = next(s for s in asked.suppliers if s.name == "azure")
    assert azure.worth_usd == pytest.approx(said["azure"].value_usd) and azure.worth_usd > 0
    assert azure.indifference_factor == pytest.approx(1.5, rel=0.01) and azure.movable_frac["1 hour"] == pytest.approx(1.0)
    assert sum(s.fair_share_usd for s in asked.suppliers if s.kind == "cloud") > azure.worth_usd
    assert "re-solves of one program" in asked.effort["negotiate"]


def test_stress_and_comparison_are_what_the_commands_say(result, asked):
    assert [s.more_usd for s in asked.shocks] == pytest.approx([s.delta_usd for s in stress.standard(result.tables)], abs=1e-6)
    by_hand = thresholds.compare_offers(result.tables, "mine", "other")
    assert asked.comparisons[0].b_usd - asked.comparisons[0].a_usd == pytest.approx(by_hand.delta_usd)
    assert {p.axis for p in asked.frontier} == {"resilience:cloud", "concentration:vendor"}


def test_a_millisecond_costs_what_planning_again_says(asked):
    (found,) = asked.slo_prices
    assert (found.workload, found.measure, found.shorter_ms) == ("chat", "TPOT", pytest.approx(3.0))
    assert found.usd is not None and found.usd >= 0 and found.usd_per_ms == pytest.approx(found.usd / 3.0)


def test_a_question_that_finds_no_end_is_named_and_the_rest_is_answered(result, monkeypatch):
    def slow(*_args, **_more):
        raise PolysiliconError("a what-if was not settled in time")

    monkeypatch.setattr(leverage, "negotiate", slow)
    found = answers_of(result, ("negotiate", "stress"))
    assert found.unanswered == ("what each supplier is worth: not answered, a what-if was not settled in time",)
    assert found.suppliers == () and found.shocks and set(found.effort) == {"stress"}
    known = catalogues.load()
    assert found.unanswered[0] in evidence_of(result, known, asked=found).warnings


def test_a_loss_nobody_priced_is_no_dollar_figure():
    known = catalogues.load()
    alone = answers_of(study.run(load_text(TINY, "s.yaml", known), known, proof=False), ("negotiate", "stress"))
    azure = next(s for s in alone.suppliers if s.name == "azure")
    assert azure.worth_usd is None and azure.indifference_factor is None and azure.unserved_frac == pytest.approx(1.0)
    out = next(s for s in alone.shocks if "azure out" in s.name)
    assert out.more_usd is None and out.unserved_mtok > 0


def test_names_are_checked_before_anything_is_solved():
    from polysilicon.cli.study import _pairs, _wanted

    assert _wanted(["negotiate,stress", "port"]) == ("negotiate", "stress", "port")
    with pytest.raises(Exception, match="negotiat"):
        _wanted(["negotiat"])
    with pytest.raises(UsageError, match="not two names"):
        _pairs(["only-one"])
