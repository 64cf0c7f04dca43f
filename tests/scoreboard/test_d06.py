"""D06: an option on a gigawatt is a contract of its own, used only where it is worth using."""

from dataclasses import replace

from audited import example, planner_world
from pytest import approx

from polysilicon import catalogue, planner
from polysilicon.economics.deal_report import whole
from polysilicon.economics.options import option_usd
from polysilicon.economics.rights import exercise
from polysilicon.economics.sections import sections
from polysilicon.planner.build import problem as tables_of
from polysilicon.planner.uncertainty import scaled, two_stage

WATTS = {chip.id: chip.all_in_w for chip in catalogue.load().chips.values()}


def test_used_in_some_price_scenarios_only():
    option = example().options[0]
    found = exercise(option, example().as_of)
    assert found.by_scenario == {"low": False, "middle": False, "high": True}
    assert 0.2 < found.exercised_frac < 0.6 and found.worth_usd > 0
    dear = option.model_copy(update={"strike_usd_per_gw_year": 1e15})
    assert not any(exercise(dear, example().as_of).by_scenario.values())
    assert whole(example(), draws=0).options == (found,)


def test_closed_form_by_hand():
    # at the money, r = 0: F (2 N(s/2) - 1) = 100 x 0.11924
    assert option_usd(100, 100, volatility_frac=0.3, years=1, rate_frac=0) == approx(11.9235, abs=1e-3)


def test_terms_one_may_take_or_leave_for_each_year_of_the_window():
    found = sections(example(), (), all_in_w=WATTS)
    terms = [part for part in found.contracts if part.option]
    assert [part.start.year for part in terms] == [2027, 2028, 2029, 2030] and not any(part.signed for part in terms)
    assert {part.it_mw for part in terms} == {1000.0} and terms[0].end.year == 2032
    assert terms[0].usd_per_chip_hour == approx(15.8e9 / (1e9 / WATTS["gb200"]) / 8760)
    no_chip = example().model_copy(update={"options": (example().options[0].model_copy(update={"chip": ""}),)})
    assert any("names no chip" in words for words in sections(no_chip, (), all_in_w=WATTS).left_out)


def options_at(usd_per_chip_hour):
    from polysilicon.cloud.contract import Contract

    return [
        Contract(
            f"right-{year}", "azure", "capacity_mw", f"{year}-01-01", f"{year + 2}-01-01", chip="h100", it_mw=0.2, w_per_chip=1400.0,
            usd_per_chip_hour=usd_per_chip_hour, signed=False, option="right",
        )
        for year in (2027, 2028)
    ]  # fmt: skip


def problem(contracts):
    w = planner_world()
    chat = w.work(rps=300.0)
    made = w.world([chat], [w.offer("h100", 3.0)], months=36, period="year", contracts=tuple(contracts))
    return made, w.table([chat])


def test_a_plan_takes_one_of_an_option_where_it_pays_and_none_where_it_does_not():
    for price, pays in ((2.0, True), (4.0, False)):
        with_right = planner.plan(*problem(options_at(price)), gap_frac=1e-6)
        without = planner.plan(*problem([]), gap_frac=1e-6)
        assert (with_right.objective_usd < without.objective_usd - 1) is pays
        both = planner.plan(*problem([replace(c, option="") for c in options_at(price)]), gap_frac=1e-6)
        assert (both.objective_usd < with_right.objective_usd - 1) is pays  # freed of each other, both would be taken


def test_before_one_knows_it_is_used_only_in_the_future_in_which_it_pays():
    def futures(contracts):
        made, table = problem(contracts)
        base = tables_of(made, table)
        return [scaled(base, name, 0.5, prices={"azure-h100-on_demand": factor}) for name, factor in (("cheap", 0.5), ("dear", 2.0))]

    held, bare = two_stage(futures(options_at(2.5))), two_stage(futures([]))
    assert held.by_future_usd[0] == approx(bare.by_future_usd[0]) and held.by_future_usd[1] < bare.by_future_usd[1] - 1
