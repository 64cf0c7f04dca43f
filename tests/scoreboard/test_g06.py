"""G06: compliance decides: only targets that carry a key's tags serve it."""

from pathlib import Path

from live import ask, endpoint, key, post, running


def test_tags_are_kept(tmp_path: Path) -> None:
    targets = {"a": {"tags": ("hipaa", "fedramp")}, "b": {"tags": ("hipaa",)}, "c": {}}
    keys = (key("k1", tags=("hipaa",)), key("gov", tags=("hipaa", "fedramp")), key("none", tags=("itar",)))
    with running(tmp_path, [endpoint("a", "claude"), endpoint("b", "vertex"), endpoint("c", "foundry")], targets=targets, keys=keys) as rig:
        assert {post(rig, ask())[1]["x-polysilicon-target"] for _ in range(12)} == {"a", "b"}
        assert {post(rig, ask(), key="sk-gov")[1]["x-polysilicon-target"] for _ in range(8)} == {"a"}
        rig.call(rig.emulator["a"].outage)
        assert post(rig, ask(), key="sk-gov")[0] != 200, "rather no answer than one from a place that may not give it"
        status, _, body = post(rig, ask(), key="sk-none")
        assert status == 403
        assert b"itar" in body
