"""B01: read prices, health and queues, solve weights, push them: under a second for four back ends and ten models, with a price step."""

import asyncio
import json
import time
from pathlib import Path

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway.config import BrokerPart, QuotePart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.live import Live
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Reliability, Route, Target, Variant, Wiring


def test_a_price_step_is_read_solved_and_pushed_within_a_second(tmp_path: Path) -> None:
    targets = tuple(Target(i, f"t{i}", "claude", "http", "h", 1, "", f"cloud{i}", "r") for i in range(4))
    variants = tuple(
        Variant(4 * m + i, f"m{m}@t{i}", f"m{m}", i, "m", "", "", "", "production", 1.0, "passed",
                compile_price(TokenPrice(f"m{m}", f"t{i}", 3.0 + i, 15.0 + i)))
        for m in range(10) for i in range(4)
    )  # fmt: skip
    routes = tuple(Route(f"m{m}", f"m{m}", "", "", tuple(range(4 * m, 4 * m + 4)), (0.25,) * 4, "plan") for m in range(10))
    wiring = Wiring("d", "p", str(tmp_path / "state"), "h", 0, 2, targets, variants, routes, (), (), Reliability())
    feed = tmp_path / "quotes.json"
    feed.write_text("[]")
    settings = BrokerPart(mode="price", quotes=(QuotePart(file=str(feed), every_s=0.4),), dwell_s=0.0, dwell_large_gain_s=0.0,
                          ramp_per_minute_frac=1000.0)  # fmt: skip

    async def go() -> None:
        workers = [Live(wiring, i) for i in range(2)]
        controller = Controller(wiring, broker=settings)

        def step(now_s: float) -> list[list[list[float]]]:
            """One interval of the loop, as the gateway runs it; what each worker goes by after its next request."""
            controller.read_feeds(now_s)
            controller.tick(now_s)
            for live in workers:
                live.refresh()
            return [live.router.directive.weights for live in workers]

        assert step(1e9) == [[[1.0, 0.0, 0.0, 0.0]] * 10] * 2
        feed.write_text(json.dumps([{"target": "t0", "model": f"m{m}", "usd_per_mtok_in": 30.0, "usd_per_mtok_out": 150.0} for m in range(10)]))
        began = time.process_time()
        assert step(1e9 + 1) == [[[0.0, 1.0, 0.0, 0.0]] * 10] * 2, "a price"
        assert time.process_time() - began < 1.0
        controller.engine_state[1] = {"waiting": 50.0, "running": 8.0, "cache_frac": 1.0}
        began = time.process_time()
        assert step(1e9 + 2) == [[[0.0, 0.0, 1.0, 0.0]] * 10] * 2, "a queue"
        assert time.process_time() - began < 1.0
        controller.down["m0@t2"] = "reclaimed"
        assert step(1e9 + 3) == [[[0.0, 0.0, 0.0, 1.0]] + [[0.0, 0.0, 1.0, 0.0]] * 9] * 2, "availability"
        controller.close()
        for live in workers:
            live.close()

    asyncio.run(go())
