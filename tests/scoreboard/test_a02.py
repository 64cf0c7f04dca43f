"""A02: coding traffic with long prefix reuse, and the cache's hit rate in the replay."""

from polysilicon import catalogue
from polysilicon.application.generate import Traffic, generate, lengths
from polysilicon.application.workload import Slo
from polysilicon.performance import best, step_times
from polysilicon.simulator import simulate
from polysilicon.simulator.fleet import Fleet, Pool


def test_agent_traffic_replayed_on_a_cache_reports_its_hit_rate():
    known = catalogue.load()
    model, chip = known.model("qwen3-coder-480b-a35b"), known.chip("b200-sxm")
    point = best(model, chip, lengths("coding-agent"), Slo(10.0, 0.1))
    assert point is not None
    times = step_times(model, chip, point.layout)
    trace = generate(Traffic("coding-agent", peak_to_mean_ratio=1.0), seconds=900, mean_rps=0.15, seed=3)
    fleet = Fleet((Pool("agents", times, replicas=2, routing="prefix", max_batch=64),), {"coding-agent": {"agents": 1.0}})
    numbers = simulate(fleet, trace, seed=1).summary()["coding-agent"]
    cold = simulate(
        fleet,
        generate(Traffic("batch", peak_to_mean_ratio=1.0), seconds=900, mean_rps=0.15, seed=3, workload="coding-agent"),
        seed=1,
    )
    assert lengths("coding-agent").cached_frac > 0.95
    assert 0.3 < numbers["cached_frac"] < 0.97  # the cache starts empty, and a quarter of an hour is short for sessions of hours
    assert cold.summary()["coding-agent"]["cached_frac"] < 0.02
