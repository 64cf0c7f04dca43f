"""A partner tied to a rival: cost with and without it, what its outage costs, and what a conflict weight changes."""

from toy import offer, port, tables, work, world

from polysilicon.planner import leverage, stress
from polysilicon.planner.resolve import Asker


def test_q02():
    ports = (port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.5))
    question = tables(world([work(rps=100.0)], [offer("maia200", 1.0), offer("h100", 2.0, cloud="aws", max_chips=200.0)], ports=ports))
    asker = Asker(question)
    azure = next(s for s in leverage.negotiate(question, asker=asker) if s.name == "azure" and s.kind == "cloud")
    out = stress.outage(asker, asker.ask(), kind="cloud", name="azure", period=0, days=30.0)
    weighed = leverage.conflict(question, "azure", weights=(0.0, 5.0))
    assert azure.value_usd > 0 and azure.token_share_frac == 0.5
    assert 0 < out.delta_usd < azure.value_usd and out.unserved_mtok == 0.0
    assert weighed[0]["share_frac"] == 0.5 and weighed[1]["share_frac"] == 0.0 and weighed[1]["usd"] > weighed[0]["usd"]


def test_the_trade_off_is_drawn():
    """Cost without it and cost of its outage, side by side on the answer page."""
    from polysilicon.report.answers import drawings, shocks, suppliers
    from polysilicon.report.asked import Asked, ShockCase, SupplierWorth

    ports = (port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.5))
    question = tables(world([work(rps=100.0)], [offer("maia200", 1.0), offer("h100", 2.0, cloud="aws", max_chips=200.0)], ports=ports))
    asker = Asker(question)
    azure = next(s for s in leverage.negotiate(question, asker=asker) if s.name == "azure" and s.kind == "cloud")
    out = stress.outage(asker, asker.ask(), kind="cloud", name="azure", period=0, days=30.0)
    worth = SupplierWorth("cloud", "azure", azure.token_share_frac, azure.spend_usd, azure.value_usd, azure.value_usd, 0.0, None, None)
    asked = Asked(suppliers=(worth,), shocks=(ShockCase(out.name, out.delta_usd, out.unserved_mtok, out.unserved_frac, out.replanned),))
    assert set(drawings(asked)) == {"suppliers", "shocks"}
    assert suppliers(asked).records()[0]["worth_usd"] == azure.value_usd and shocks(asked).records()[0]["more_usd"] == out.delta_usd
