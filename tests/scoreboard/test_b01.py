"""B01: read prices, health and queue, solve weights, push: under a second for four back ends and ten models, with a price step."""

import time

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway.broker import Broker, View
from polysilicon.gateway.config import BrokerPart
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Reliability, Route, Target, Variant, Wiring


def test_a_price_step_is_solved_within_a_second() -> None:
    targets = tuple(Target(i, f"t{i}", "claude", "http", "h", 1, "", f"cloud{i}", "r") for i in range(4))
    variants = tuple(
        Variant(4 * m + i, f"m{m}@t{i}", f"m{m}", i, "m", "", "", "", "production", 1.0, "passed",
                compile_price(TokenPrice(f"m{m}", f"t{i}", 3.0 + i, 15.0 + i)))
        for m in range(10) for i in range(4)
    )  # fmt: skip
    routes = tuple(Route(f"m{m}", f"m{m}", "", "", tuple(range(4 * m, 4 * m + 4)), (0.25,) * 4, "plan") for m in range(10))
    wiring = Wiring("d", "p", "/n", "h", 0, 1, targets, variants, routes, (), (), Reliability())
    broker = Broker(wiring, BrokerPart(mode="price", dwell_s=0.0, dwell_large_gain_s=0.0, ramp_per_minute_frac=1000.0))

    def tick(now_s: float, **quotes: tuple[float, float]) -> list[list[float]]:
        seen = View(now_s=now_s, demand_mtok_per_s=[1.0] * 10, mix_in_frac=[0.75] * 10, quotes={k.replace("_", "@"): v for k, v in quotes.items()})
        return broker.tick(seen).weights

    assert all(w[0] == 1.0 for w in tick(1e9))
    began = time.process_time()
    after = tick(1e9 + 1, **{f"m{m}_t0": (30.0, 150.0) for m in range(10)})
    assert time.process_time() - began < 1.0
    assert all(w == [0.0, 1.0, 0.0, 0.0] for w in after)
