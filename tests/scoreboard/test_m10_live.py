"""M10, live: time to first token by application, as a histogram whose counts and sums are the ledger's: promises are read off it."""

from pathlib import Path

from live import ask, endpoint, key, post, running
from prometheus_client.parser import text_string_to_metric_families

from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import FleetModel


def test_first_token_quantiles_by_application(tmp_path: Path) -> None:
    fast, slow = (FleetModel(ttft_s=t, tpot_s=0.0) for t in (0.001, 0.3))
    doors = [endpoint("a", "claude", model=fast), endpoint("slow", "vertex", model=slow)]
    keys = (key("k1", application="copilot", clouds=("anthropic",)), key("k2", application="batch", clouds=("gcp",)))
    with running(tmp_path, doors, keys=keys) as rig:
        for i in range(12):
            post(rig, ask(stream=True), key=f"sk-k{1 + i % 2}")
        entries = rig.ledger(12)
        controller = Controller(rig.wiring)
        controller.tick()
        families = {f.name: f for f in text_string_to_metric_families(controller.metrics())}
        controller.close()
    samples = families["polysilicon_ttft_seconds"].samples

    def within(app: str, seconds: float) -> float:
        found = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket") and s.labels["app"] == app}
        return found[f"{seconds:g}"] / found["+Inf"]

    for app in ("copilot", "batch"):
        mine = [e.ttft_s for e in entries if e.application == app]
        assert sum(s.value for s in samples if s.name.endswith("_count") and s.labels["app"] == app) == len(mine) == 6
        assert abs(sum(s.value for s in samples if s.name.endswith("_sum") and s.labels["app"] == app) - sum(mine)) < 1e-4
        assert within(app, 0.25) == sum(t <= 0.25 for t in mine) / len(mine)
    assert within("batch", 0.25) == 0.0, "a promise of 0.25 s is missed by every request of this application"
    assert within("copilot", 0.25) >= 0.8
