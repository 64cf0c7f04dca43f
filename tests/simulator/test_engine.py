"""The engine's rules, each on a case small enough to do by hand. Steps take 10 ms unless said."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.simulator import fleet as fleets
from polysilicon.simulator.fleet import Fleet

Pool = partial(fleets.Pool, max_batch=32)


def trace(*requests: tuple[float, int, int], **columns: object) -> Trace:
    arrival, isl, osl = zip(*requests, strict=True)
    t = Trace(np.array(arrival, float), np.array(isl, np.int32), np.array(osl, np.int32))
    for name, values in columns.items():
        setattr(t, name, values)
    return t


def run(t: Trace, *pools: fleets.Pool, **fleet: object):
    return simulator.simulate(Fleet(tuple(pools), **fleet), t)


def test_one_request_takes_one_prefill_step_and_a_step_for_each_further_token(flat) -> None:
    row = run(trace((0.0, 50, 5)), Pool("a", flat())).requests[0]
    assert row["first_s"] == pytest.approx(0.01) and row["done_s"] == pytest.approx(0.05)


def test_steps_with_prefill_take_longer_and_the_client_hears_of_every_token_later(flat) -> None:
    # prompts in 3 chunks: 3 x (10 + 2) ms, then 4 decode steps of 10 ms; the client is 5 ms away
    times = flat(budget=100, prefill_step_s=0.002, first_token_s=0.005)
    result = run(trace((0.0, 250, 5)), Pool("a", times))
    assert result.ttft_s[0] == pytest.approx(0.036 + 0.005) and result.e2e_s[0] == pytest.approx(0.076 + 0.005)
    assert result.tpot_s[0] == pytest.approx(0.01) and result.replicas["busy_s"][0] == pytest.approx(0.076)


def test_a_session_thinks_from_when_its_client_has_the_answer(flat) -> None:
    t = trace((0.0, 10, 1), (0.0, 10, 1), session=np.array([7, 7], np.int32), think_s=np.array([0.0, 2.0]))
    assert run(t, Pool("a", flat(first_token_s=0.5))).requests["arrival_s"][1] == pytest.approx(0.01 + 0.5 + 2.0)


def test_a_long_prompt_is_prefilled_in_chunks_of_the_token_budget(flat) -> None:
    assert run(trace((0.0, 250, 1)), Pool("a", flat(budget=100), max_batch=4)).requests["first_s"][0] == pytest.approx(0.03)


def test_decodes_come_first_and_the_prompt_gets_what_is_left_of_the_budget(flat) -> None:
    # 4 decodes leave 96 of 100 tokens a step: 192 tokens of prompt take two steps, 193 take three
    starts = [(0.0, 25, 50)] * 4
    for prompt, steps in ((192, 2), (193, 3)):
        rows = run(trace(*starts, (0.025, prompt, 1)), Pool("a", flat(budget=100), max_batch=8)).requests
        assert rows["first_s"][4] == pytest.approx(0.03 + 0.01 * steps)


def test_more_than_max_batch_wait(flat) -> None:
    rows = run(trace(*[(0.0, 10, 3)] * 3), Pool("a", flat(), max_batch=2)).requests
    assert rows["start_s"].tolist() == pytest.approx([0.0, 0.0, 0.03])


def test_a_watermark_of_free_memory_is_kept_when_a_request_is_admitted(flat) -> None:
    # 10 blocks of 10 tokens: two prompts of 40 leave 2 free; 30 % must stay free, so the second waits for the first
    pool = {"block_tokens": 10, "step_times": flat(kv_tokens=100)}
    near = run(trace((0.0, 40, 2), (0.0, 40, 2)), Pool("a", watermark_frac=0.3, **pool)).requests
    free = run(trace((0.0, 40, 2), (0.0, 40, 2)), Pool("a", watermark_frac=0.2, **pool)).requests
    assert near["start_s"][1] == pytest.approx(near["done_s"][0]) and free["start_s"][1] == 0.0


def test_the_newest_gives_way_when_memory_ends_and_is_computed_again(flat) -> None:
    # 5 blocks of 10: both hold 2 (20 tokens); at token 21 the first takes the fifth, the second must go
    rows = run(trace((0.0, 20, 15), (0.0, 20, 15)), Pool("a", flat(kv_tokens=50), block_tokens=10, watermark_frac=0.0)).requests
    assert rows["preemptions"].tolist() == [0, 1] and (rows["status"] == 1).all()
    assert rows["first_s"][1] == pytest.approx(0.01)  # it keeps the tokens it has sent
    assert rows["done_s"][0] == pytest.approx(0.15) and rows["done_s"][1] > 0.25


def test_a_class_of_lower_number_is_served_first(flat) -> None:
    t = trace((0.0, 10, 4), (0.001, 10, 4), (0.002, 10, 4), priority=np.array([1, 1, 0], np.int32))
    assert run(t, Pool("a", flat(), max_batch=1)).requests["start_s"].argsort().tolist() == [0, 2, 1]


def test_a_full_queue_refuses(flat) -> None:
    result = run(trace(*[(0.0, 10, 3)] * 5), Pool("a", flat(), max_batch=2, queue_requests=1))
    assert result.summary()["default"]["refused"] == {"rejected: queue full": 2}


def blocks(*rows: list[int], size: int) -> dict[str, object]:
    return {
        "block_tokens": size, "block_hash": np.array([h for row in rows for h in row], np.int64),
        "block_offset": np.cumsum([0, *map(len, rows)]).astype(np.int64),
    }  # fmt: skip


def test_a_prefix_that_is_cached_is_not_computed_again(flat) -> None:
    t = trace((0.0, 64, 2), (1.0, 64, 2), **blocks([1, 2, 3, 4], [1, 2, 3, 9], size=16))
    result = run(t, Pool("a", flat(token_s=0.001), max_batch=4))
    assert result.requests["cached_tokens"].tolist() == [0, 48]
    assert result.ttft_s.tolist() == pytest.approx([0.01 + 0.064, 0.01 + 0.016])


def test_the_prefix_router_goes_where_the_longest_prefix_was_sent(flat) -> None:
    # two sessions share their first block; B is sent away from the busy A, and takes the shared block along: A still finds its own
    a, b, more = [1, 2, 3], [1, 12, 13], [1, 2, 3, 4]
    t = trace((0.0, 48, 60), (0.1, 48, 2), (5.0, 64, 2), **blocks(a, b, more, size=16))
    rows = run(t, Pool("a", flat(), 2, max_batch=4, routing="prefix", prefix_gain_requests=2.0)).requests
    assert rows["replica"][0] != rows["replica"][1] and rows["replica"][2] == rows["replica"][0]
    assert rows["cached_tokens"].tolist()[2] == 48


def test_the_longest_unused_prefix_is_forgotten_first(flat) -> None:
    # memory for 5 blocks of 16; prompts of 2 blocks each, one after another: A B C forgets A, then B is still there
    a, b, c = [1, 2], [3, 4], [5, 6]
    t = trace(*[(float(i), 32, 2) for i in range(5)], **blocks(a, b, c, b, a, size=16))
    result = run(t, Pool("a", flat(kv_tokens=80), max_batch=1, watermark_frac=0.0))
    assert result.requests["cached_tokens"].tolist() == [0, 0, 0, 16, 0]


def test_a_session_waits_for_its_turn_thinks_and_finds_its_own_prefix(flat) -> None:
    t = trace((0.0, 64, 64), (0.0, 160, 2), session=np.array([7, 7], np.int32), think_s=np.array([0.0, 2.0]))
    result = run(t, Pool("a", flat(budget=200), max_batch=4))
    assert result.requests["arrival_s"].tolist() == pytest.approx([0.0, 0.64 + 2.0])
    assert result.requests["cached_tokens"].tolist() == [0, 64]  # one whole block of 64 of the 127 tokens written


def test_prefill_here_decode_there_moves_the_kv_over_the_link(flat) -> None:
    prefill = Pool("p", flat(transfer_s_per_token=0.001, transfer_latency_s=0.5), role="prefill", decode_pool="d")
    result = run(trace((0.0, 100, 3)), prefill, Pool("d", flat(), role="decode"))
    row = result.requests[0]
    assert row["first_s"] == pytest.approx(0.01)  # the first token comes from the prefill side
    assert row["done_s"] == pytest.approx(0.01 + 0.1 + 0.5 + 0.02) and row["replica"] == 1


def test_two_prompts_share_the_link_one_after_another(flat) -> None:
    prefill = Pool("p", flat(budget=200, transfer_s_per_token=0.001), role="prefill", decode_pool="d")
    rows = run(trace((0.0, 100, 2), (0.0, 100, 2)), prefill, Pool("d", flat(), role="decode")).requests
    assert rows["done_s"].tolist() == pytest.approx([0.01 + 0.1 + 0.01, 0.01 + 0.2 + 0.01])


def test_speculation_yields_its_accepted_tokens_a_step(flat) -> None:
    pool = Pool("a", flat(), draft_tokens=3, accepted_tokens=2.5, acceptance="mean", draft_s=0.002, max_batch=4)
    assert run(trace((0.0, 10, 26)), pool).requests["done_s"][0] == pytest.approx(0.01 + 10 * 0.012)  # 25 tokens in 10 steps


def test_each_step_of_speculation_draws_how_many_drafts_it_accepts(flat) -> None:
    # two tokens after the first: one step when its draft is accepted (chance 0.6), else two; 100 tokens take 100 / 1.6 steps
    pool = Pool("a", flat(budget=200), 50, draft_tokens=1, accepted_tokens=1.6, max_batch=64)
    n = 20_000
    short = run(trace(*[(0.0, 1, 3)] * n), replace(pool, max_batch=1, routing="weighted")).requests
    steps = np.rint((short["done_s"] - short["first_s"]) / 0.01)
    assert set(steps) == {1, 2} and abs((steps == 1).mean() - 0.6) < 4 * np.sqrt(0.24 / n)
    long = run(trace(*[(i * 0.1, 1, 101) for i in range(2_000)]), pool).requests
    steps = np.rint((long["done_s"] - long["first_s"]) / 0.01)
    # renewal theory: mean left / mean, and half a token's overshoot; variance left x variance / mean^3
    assert steps.mean() == pytest.approx(100 / 1.6 + 0.2, abs=0.5) and steps.var() == pytest.approx(100 * 0.24 / 1.6**3, rel=0.15)
    again = run(trace(*[(i * 0.1, 1, 101) for i in range(2_000)]), pool).requests
    assert (again == long).all()  # by the seed alone


def test_work_that_may_wait_fills_idle_room_and_starts_in_time(flat) -> None:
    t = trace(*[(0.0, 10, 101)] * 2, (0.1, 10, 101), workload=np.array([0, 0, 1], np.int32), workload_names=("chat", "batch"))
    pool = Pool("a", flat(), max_batch=4, deferred_batch=1)
    patient = run(t, pool, slos={"batch": Slo(deadline_s=60.0)}).requests
    pressed = run(t, pool, slos={"batch": Slo(deadline_s=0.4)}).requests
    assert patient["start_s"][2] == pytest.approx(patient["done_s"][0])  # when the batch has room
    assert pressed["start_s"][2] == pytest.approx(0.3, abs=0.011)  # when half of its deadline is gone


def test_several_chips_in_one_run_share_by_weight_and_by_price(flat) -> None:
    t = trace(*[(i * 1.0, 10, 2) for i in range(40)])
    cheap, dear = Pool("cheap", flat(), usd_per_chip_hour=1.0), Pool("dear", flat(0.005), usd_per_chip_hour=3.0)
    weighted = run(t, cheap, dear, routes={"default": {"cheap": 3.0, "dear": 1.0}})
    assert np.bincount(weighted.requests["replica"]).tolist() == [30, 10]
    assert run(t, cheap, dear, routing="price").requests["replica"].max() == 0


def test_windows_cap_what_attention_reads(flat) -> None:
    times = flat(window_s_per_token=1e-4, window_tokens=12)
    done = run(trace((0.0, 10, 5)), Pool("a", times)).requests["done_s"][0]
    assert done == pytest.approx(5 * 0.01 + 1e-4 * (11 + 12 + 12 + 12))


def test_a_closed_loop_keeps_so_many_inside(flat) -> None:
    result = simulator.closed_loop(flat(), [10] * 6, [5] * 6, 2)
    rows = result.requests
    assert rows["arrival_s"][:2].tolist() == [0.0, 0.0] and rows["arrival_s"][2] == pytest.approx(rows["done_s"][0])
    inside = [(rows["arrival_s"] <= t).sum() - (rows["done_s"] <= t).sum() for t in np.linspace(0.001, result.span_s - 1e-3, 50)]
    assert max(inside) == 2


def test_the_same_seed_gives_the_same_bytes_and_another_another_order(flat) -> None:
    t = trace(*[(i * 0.3, 10, 2) for i in range(30)])
    runs = [simulator.simulate(Fleet((Pool("a", flat(), 4),)), t, seed=seed).requests for seed in (1, 1, 2)]
    assert runs[0].tobytes() == runs[1].tobytes() and runs[0]["replica"].tolist() != runs[2]["replica"].tolist()
