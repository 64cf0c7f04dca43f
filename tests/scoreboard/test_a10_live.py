"""A10, live: traffic that must stay in the EU never leaves it, not even when the EU's only target is down."""

from pathlib import Path

from live import ask, endpoint, key, post, running
from test_draft import DAY, european

from polysilicon.gateway import config
from polysilicon.gateway.compile import compile_wiring
from polysilicon.gateway.draft import draft
from polysilicon.gateway.emulator import Fault


def test_eu_only_never_leaves_the_eu(tmp_path: Path) -> None:
    doors = [endpoint("us", "bedrock"), endpoint("eu", "vertex"), endpoint("uk", "foundry", region="uksouth")]
    with running(tmp_path, doors, keys=(key(regions=("eu",)), key("any")), weights=[0.9, 0.05, 0.05]) as rig:
        assert {post(rig, ask(stream=bool(i % 2)))[1]["x-polysilicon-target"] for i in range(20)} == {"eu"}
        rig.emulator["eu"].faults.append(Fault("529"))
        assert post(rig, ask())[0] == 529
        assert post(rig, ask(), key="sk-any")[0] == 200
        assert not any(e.region != "europe-west4" and e.key == "k1" for e in rig.ledger(22) if e.target)


def test_a_plan_s_residency_holds_in_the_gateway_for_keys_that_say_nothing_of_it() -> None:
    """Chips held in America are paid for already, and still no place for a workload that the scenario keeps in the EU."""
    wiring = compile_wiring(config.load_text(draft(european(), on=DAY)), european(), on=DAY)
    assert not any(key.regions for key in wiring.keys)
    places = {r.workload: {wiring.targets[wiring.variants[v].target].region for v in r.variants} for r in wiring.routes}
    assert places == {"chat": {"us-east-1", "us-east5", "eu-west-1"}, "eu-chat": {"eu-west-1"}}
