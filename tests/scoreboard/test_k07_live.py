"""K07, live: a sales channel pinned to Azure is served by Azure or not at all, though the plan's weight is elsewhere."""

from pathlib import Path

from live import ask, endpoint, key, post, running


def test_azure_channel_traffic_cannot_reach_aws(tmp_path: Path) -> None:
    doors = [endpoint("aws", "bedrock"), endpoint("azure", "foundry")]
    with running(tmp_path, doors, keys=(key(clouds=("azure",)),), weights=[1.0, 0.0]) as rig:
        assert {post(rig, ask())[1]["x-polysilicon-target"] for _ in range(10)} == {"azure"}
        rig.call(rig.emulator["azure"].outage)
        assert post(rig, ask())[0] != 200
        assert rig.emulator["aws"].seen.requests == 0
