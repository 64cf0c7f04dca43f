"""A10, live: traffic that must stay in the EU never leaves it, not even when the EU's only target is down."""

from pathlib import Path

from live import ask, endpoint, key, post, running

from polysilicon.gateway.emulator import Fault


def test_eu_only_never_leaves_the_eu(tmp_path: Path) -> None:
    doors = [endpoint("us", "bedrock"), endpoint("eu", "vertex"), endpoint("uk", "foundry", region="uksouth")]
    with running(tmp_path, doors, keys=(key(regions=("eu",)), key("any")), weights=[0.9, 0.05, 0.05]) as rig:
        assert {post(rig, ask(stream=bool(i % 2)))[1]["x-polysilicon-target"] for i in range(20)} == {"eu"}
        rig.emulator["eu"].faults.append(Fault("529"))
        assert post(rig, ask())[0] == 529
        assert post(rig, ask(), key="sk-any")[0] == 200
        assert not any(e.region != "europe-west4" and e.key == "k1" for e in rig.ledger(22) if e.target)
