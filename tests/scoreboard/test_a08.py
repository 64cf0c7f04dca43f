"""A08: higher throughput means more users in a rack: users_per_rack at the promise."""

from polysilicon import catalogue, performance
from polysilicon.application.workload import Lengths, Slo


def test_users_per_rack_grow_with_the_chip_and_fall_with_a_tighter_promise():
    known = catalogue.load()
    model = known.model("gpt-oss-120b")

    def users(chip: str, tpot_s: float) -> int:
        point = performance.best(model, known.chip(chip), Lengths(1000, 300), Slo(ttft_s=2.0, tpot_s=tpot_s))
        return performance.users_per_rack(point, 72) if point else 0

    assert users("GB200", 0.05) > 1.5 * users("H100", 0.05) > 0
    assert users("H100", 0.1) >= users("H100", 0.05) >= users("H100", 0.02)
