"""Time to first token at a quantile: by hand where theory is exact, and against the simulator where it is not."""

import math

import numpy as np
import pytest

from polysilicon import catalogue, simulator
from polysilicon.application.generate import generate, lengths
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Lengths, Slo
from polysilicon.performance import ServingPoint, best, step_times, table
from polysilicon.performance.serving import queue_wait_s, uncached_cv, uncached_tokens
from polysilicon.simulator.fleet import Fleet, Pool

KNOWN = catalogue.load()
BLOCK = 256
REQUESTS = 1500

# model, chip, lengths, promised TTFT in seconds, and the factor within which the P95 lies of the simulated one
CASES = {
    "chat": ("llama-3.1-70b", "H100", Lengths(1000, 500), 2.0, 2.0),
    "long prompts": ("llama-3.1-70b", "H100", Lengths(4000, 300), 2.0, 2.0),
    "prompts near saturation": ("llama-3.1-70b", "GB200", Lengths(8000, 200), 3.0, 2.5),
    "wide experts": ("deepseek-v3", "GB200", Lengths(1024, 512), 2.0, 2.0),
    "coding agent, experts": ("deepseek-v3", "GB200", Lengths(120_000, 400, 0.96, 0.76, 1.6), 5.0, 2.0),
    "coding agent, dense": ("llama-3.1-70b", "GB200", Lengths(120_000, 400, 0.96, 0.76, 1.6), 10.0, 2.0),
    "long context, two thirds cached": ("llama-3.1-70b", "H100", Lengths(15_000, 150, 0.66, 1.3, 1.2), 5.0, 2.0),
}


def test_the_wait_is_that_of_m_m_1():
    mean, p95 = queue_wait_s(np.array(0.8), np.array(2.0), 0.95, 1.0)
    assert float(mean) == pytest.approx(0.8 * 2.0 / 0.2)  # rho s / (1 - rho)
    assert float(p95) == pytest.approx(10.0 * math.log(0.8 / 0.05))  # P(W > t) = rho exp(-t (1 - rho) / s)
    idle = queue_wait_s(np.array(0.04), np.array(2.0), 0.95, 1.0)
    assert float(idle[1]) == 0.0  # 96 of 100 find the server free


def test_the_wait_grows_with_the_square_of_the_spread():
    even, wild = (queue_wait_s(np.array(0.5), np.array(1.0), 0.95, cv) for cv in (0.0, 4.3))
    assert float(wild[1] / even[1]) == pytest.approx(1.0 + 4.3**2)


def test_what_is_left_of_a_prompt_by_hand():
    agent = Lengths(120_000, 400, cached_frac=0.96, isl_cv=0.0)
    assert uncached_tokens(agent) == pytest.approx(4800)
    assert uncached_cv(agent) == pytest.approx(math.sqrt((1 + 1 / 0.04) / 2 - 1))  # sqrt(12)
    assert uncached_cv(Lengths(1000, 1, isl_cv=0.7)) == pytest.approx(0.7)


@pytest.mark.parametrize("profile", ["chat", "coding-agent", "long-context", "enterprise"])
def test_the_spread_of_uncached_prompts_is_that_of_the_profiles(profile):
    made = generate(profile, seconds=20_000, mean_rps=1.0, blocks=False)
    new = (made.isl_tokens - made.reuse_tokens).astype(float)
    assert uncached_cv(lengths(profile)) == pytest.approx(float(new.std() / new.mean()), rel=0.15)


def test_cached_prompts_have_the_tail_of_what_is_not_cached():
    agent, plain = Lengths(120_000, 400, cached_frac=0.96), Lengths(4800, 400)
    layout = best(KNOWN.model("deepseek-v3"), KNOWN.chip("GB200"), agent, Slo(10.0, 0.05)).layout
    late = [_ttft_s("deepseek-v3", "GB200", shape, layout, 16, 0.95) for shape in (agent, plain)]
    assert late[0] > 2.0 * late[1]  # as many new tokens on average, in rarer and longer pieces


def test_ttft_rises_with_the_quantile():
    layout = best(KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100"), Lengths(1000, 500), Slo(2.0, 0.05)).layout
    late = [_ttft_s("llama-3.1-70b", "H100", Lengths(1000, 500), layout, 16, q) for q in (0.1, 0.5, 0.9, 0.95, 0.99)]
    assert late == sorted(late)


@pytest.mark.parametrize("name", CASES)
def test_the_correction_lies_near_the_simulator(name):
    model, chip, shape, ttft_s, factor = CASES[name]
    point = best(KNOWN.model(model), KNOWN.chip(chip), shape, Slo(ttft_s, 0.05))
    assert point is not None
    simulated = _simulated_ttft_s(point, shape, 0.95)
    assert simulated / factor < point.ttft_s < simulated * factor


def _ttft_s(model, chip, shape, layout, batch, quantile):
    """Return the predicted TTFT of the point nearest a batch."""
    slo = Slo(deadline_s=1e6, quantile=quantile)
    points = table(KNOWN.model(model), KNOWN.chip(chip), shape, slo, layouts=[layout])
    return min(points, key=lambda p: abs(p.batch - batch)).ttft_s


def _simulated_ttft_s(point: ServingPoint, shape: Lengths, quantile: float) -> float:
    """Return the TTFT of Poisson arrivals at the point's rate; a warm shared prefix stands for what is cached."""
    rng = np.random.default_rng(3)
    new = _lognormal(rng, uncached_tokens(shape), uncached_cv(shape))
    osl = _lognormal(rng, shape.osl_tokens, shape.osl_cv)
    arrival = np.cumsum(rng.exponential(1.0 / point.requests_per_s, REQUESTS))
    blocks = int(shape.isl_tokens * shape.cached_frac) // BLOCK
    trace = Trace(
        arrival, (new + blocks * BLOCK).astype(np.int32), osl, block_tokens=BLOCK,
        block_offset=np.arange(REQUESTS + 1, dtype=np.int64) * blocks, block_hash=np.tile(np.arange(blocks), REQUESTS),
    )  # fmt: skip
    times = step_times(KNOWN.model(point.model), KNOWN.chip(point.chip), point.layout, max_step_tokens=8192 * point.layout.dp)
    pool = Pool("replica", times, max_batch=4096, block_tokens=BLOCK, chips_per_replica=point.chips)
    result = simulator.simulate(Fleet((pool,)), trace)
    assert result.done.all()
    return float(np.quantile(result.ttft_s[REQUESTS // 3 :], quantile))


def _lognormal(rng, mean, cv):
    sigma = math.sqrt(math.log1p(cv**2))
    return np.maximum(1, np.round(np.exp(rng.normal(math.log(mean) - sigma**2 / 2, sigma, REQUESTS)))).astype(np.int32)
