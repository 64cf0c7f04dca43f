"""B09: a Prometheus page of tokens and dollars by chip, cloud, model and application, whose sums equal the ledger."""

from pathlib import Path

from live import ask, endpoint, key, post, running
from prometheus_client.parser import text_string_to_metric_families

from polysilicon.gateway.controller import Controller


def test_counters_equal_the_ledger(tmp_path: Path) -> None:
    variants = {"aws": {"chip": "Trainium2"}, "gcp": {"chip": "TPU v7"}}
    keys = (key("k1", application="copilot"), key("k2", application="api"))
    with running(tmp_path, [endpoint("aws", "bedrock"), endpoint("gcp", "vertex")], variants=variants, keys=keys) as rig:
        for i in range(12):
            post(rig, ask(stream=bool(i % 2)), key=f"sk-k{1 + i % 3 // 2}")
        entries = rig.ledger(12)
        controller = Controller(rig.wiring, custom_chips=("Trainium2", "TPU v7"))
        controller.tick()
        families = {f.name: f for f in text_string_to_metric_families(controller.metrics())}
        controller.close()
    tokens, usd = families["polysilicon_tokens"].samples, families["polysilicon_cost_usd"].samples
    for chip, cloud, app in {(e.chip, e.cloud, e.application) for e in entries}:
        mine = [e for e in entries if (e.chip, e.cloud, e.application) == (chip, cloud, app)]
        same = {"chip": chip, "cloud": cloud, "app": app, "model": "opus"}
        assert sum(s.value for s in tokens if same.items() <= s.labels.items()) == sum(e.tokens for e in mine)
        assert abs(sum(s.value for s in usd if same.items() <= s.labels.items()) * 1e9 - sum(e.cost_nano_usd for e in mine)) < 1
    assert sum(s.value for s in tokens) == sum(e.tokens for e in entries)
