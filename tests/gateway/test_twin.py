"""One routing function, one log: the same trace, plan and tape take the same routes in the simulator and through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from rig import MODEL, Rig, ask, endpoint, post

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.errors import InputError
from polysilicon.gateway.broker.tick import read_log
from polysilicon.gateway.config import BrokerPart, QuotePart
from polysilicon.gateway.controller import Controller
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, WeightChange
from polysilicon.simulator.files import read_fleet
from polysilicon.simulator.fleet import Fleet, Pool

DOORS = ("claude", "bedrock", "vertex", "foundry")
PLAN = (0.4, 0.3, 0.2, 0.1)
START_S = 1.8e9


def quick() -> StepTimes:
    tokens = np.arange(2049)
    return StepTimes(np.where(tokens > 0, 0.001, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)


def tape(n: int, seed: int) -> dict[int, list[dict[str, object]]]:
    """What the feed says from which request on: price steps, outages, recoveries."""
    random = Random(seed)
    factors = [0.7, 0.9, 1.0, 1.0, 1.2, 1.6]

    def row(door: str) -> dict[str, object]:
        return {"target": door, "factor": random.choice(factors), "available": random.random() > 0.15, "why": "outage"}

    return {i: [row(door) for door in DOORS[1:]] for i in range(0, n, 40)}


@pytest.mark.parametrize("mode", ["plan", "price"])
def test_same_trace_same_plan_same_tape_same_routes(rig: Callable[..., Rig], tmp_path: Path, mode: str) -> None:
    n, step_s = 400, 2.0
    feed = tmp_path / "quotes.json"
    feed.write_text("[]")
    r = rig([endpoint(d, d) for d in DOORS], weights=list(PLAN))
    settings = BrokerPart(mode=mode, quotes=(QuotePart(file=str(feed), every_s=step_s, stale_after_s=1e9),), dwell_s=60.0, dwell_large_gain_s=10.0)
    controller = Controller(r.wiring, broker=settings)
    events = tape(n, 11)
    for i in range(n):  # one request every two seconds of the tape's time, through real sockets
        if i in events:
            feed.write_text(json.dumps(events[i]))
        now_s = START_S + step_s * i
        controller.read_feeds(now_s)
        controller.tick(now_s)
        assert post(r, ask(text=f"question {i}"))[0] == 200
    controller.close()
    served = [DOORS.index(e.target) for e in r.ledger(n)]

    log = read_log(Path(r.wiring.state) / "decisions.jsonl")
    assert len({tuple(entry.directive.weights[0]) for entry in log}) > 10, "the tape did move something"
    changes = [WeightChange(max(0.0, entry.view.now_s - START_S - 0.5), MODEL, tuple(entry.directive.weights[0])) for entry in log]
    trace = Trace(step_s * np.arange(n), np.full(n, 20, np.int32), np.full(n, 2, np.int32), workload_names=(MODEL,))
    fleet = Fleet(tuple(Pool(d, quick(), 8, max_batch=64) for d in DOORS), {MODEL: dict(zip(DOORS, PLAN, strict=True))})
    result = simulator.simulate(fleet, trace, happenings=Happenings(weights=changes))
    simulated = [int(x) // 8 for x in result.requests["replica"]]
    assert simulated == served
    assert len(set(served)) == 4


def test_weights_of_a_fleet_file(tmp_path: Path) -> None:
    pools = "".join(f"  - {{name: {x}, replicas: 1, max_batch: 64, step_times: {{base_s: 0.001, kv_tokens: 100000}}}}\n" for x in "ab")
    text = f"polysilicon_fleet: 1\npools:\n{pools}routes: {{w: {{a: 1, b: 0}}}}\nweights:\n  - {{at_s: 50, workload: w, shares: {{b: 1}}}}\n"
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    fleet, happenings = read_fleet(path)
    n = 100
    trace = Trace(np.arange(float(n)), np.full(n, 20, np.int32), np.full(n, 2, np.int32), workload_names=("w",))
    result = simulator.simulate(fleet, trace, happenings=happenings)
    assert [int(x) for x in result.requests["replica"]] == [0] * 50 + [1] * 50
    path.write_text(text.replace("shares: {b: 1}", "shares: {c: 1}"))
    with pytest.raises(InputError, match='pool "c"'):
        read_fleet(path)
    with pytest.raises(InputError, match="shares"):
        simulator.simulate(fleet, trace, happenings=Happenings(weights=[WeightChange(0.0, "w", (1.0,))]))
