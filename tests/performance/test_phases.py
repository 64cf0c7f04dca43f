"""Prefill and decode alone: the same physics as step times, each within what the chip can do, and decode never slower for being alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from polysilicon import catalogue, performance
from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit
from polysilicon.model.layout import Layout
from polysilicon.performance.phases import phase_best

KNOWN = catalogue.load()
MODEL, CHIP = KNOWN.model("llama-3.1-70b"), KNOWN.chip("h100-sxm")
LENGTHS, SLO = Lengths(2000.0, 300.0), Slo(ttft_s=1.0, tpot_s=0.05, quantile=0.95)
TP8 = (Layout("fp8", "fp8", tp=8),)


def test_decode_is_the_step_of_its_batch():
    point = phase_best(MODEL, CHIP, LENGTHS, SLO, "decode", layouts=TP8)
    times = performance.step_times(MODEL, CHIP, TP8[0])
    step = times.step_s(0, point.batch, context_tokens=point.batch * (2000.0 + 150.0))
    assert point.phase == "decode" and point.requests_per_s == pytest.approx(point.batch / (300.0 * step), rel=0.01)
    assert point.tpot_s <= SLO.tpot_s and point.tok_per_s_per_chip == pytest.approx(point.requests_per_s * 300.0 / 8)


def test_prefill_stays_below_what_full_steps_can_do_and_keeps_its_promise():
    point = phase_best(MODEL, CHIP, LENGTHS, SLO, "prefill", layouts=TP8)
    times = performance.step_times(MODEL, CHIP, TP8[0])
    most = 8192 / times.step_s(8192, 0, pairs=8192 * 1000.0) / 2000.0
    assert 0.3 * most < point.requests_per_s < most
    assert point.ttft_s <= SLO.ttft_s and 0 < point.mfu_frac < 1


def test_a_tighter_promise_takes_more_chips():
    loose = phase_best(MODEL, CHIP, LENGTHS, SLO, "prefill", layouts=TP8)
    tight = phase_best(MODEL, CHIP, LENGTHS, replace(SLO, ttft_s=0.35), "prefill", layouts=TP8)
    assert tight.requests_per_s < loose.requests_per_s
    assert phase_best(MODEL, CHIP, LENGTHS, replace(SLO, ttft_s=1e-4), "prefill", layouts=TP8) is None


def test_decode_alone_is_never_slower_than_beside_prefill():
    both = performance.best(MODEL, CHIP, LENGTHS, SLO, layouts=TP8)
    alone = phase_best(MODEL, CHIP, LENGTHS, SLO, "decode", layouts=TP8)
    assert alone.requests_per_s > both.requests_per_s


def test_what_does_not_fit_says_so():
    with pytest.raises(DoesNotFit):
        phase_best(KNOWN.model("deepseek-v3"), CHIP, LENGTHS, SLO, "decode", layouts=TP8)
