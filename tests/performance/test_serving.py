"""Step times and serving points: affine, monotone, fitting, non-dominated, priced."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import catalogue
from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit, InputError, MissingFact
from polysilicon.model.layout import Layout
from polysilicon.performance import Observation, Own, best, improved_frac, layouts, meets, step_times, table, token_cost, tornado
from polysilicon.performance.efficiency import PARAMETERS, efficiency, read, rows
from polysilicon.performance.steps import degrees, ground, slopes, tokens_s

KNOWN = catalogue.load()
LLAMA, R1, OSS = KNOWN.model("llama-3.1-70b"), KNOWN.model("deepseek-r1"), KNOWN.model("gpt-oss-120b")
H100, GB200 = KNOWN.chip("H100"), KNOWN.chip("GB200")
FP8 = Layout("fp8", "fp8", tp=8)
CHAT, SLO = Lengths(1000, 500), Slo(2.0, 0.05)


def test_step_times_are_affine_and_nondecreasing():
    times = step_times(LLAMA, H100, FP8)
    assert times.tokens_s[0] == 0
    assert np.all(np.diff(times.tokens_s) >= 0)
    one, two = (times.step_s(0, 8, context_tokens=c) for c in (8000.0, 16000.0))
    three = times.step_s(0, 8, context_tokens=24000.0)
    assert three - two == pytest.approx(two - one)
    assert times.step_s(512, 8) > times.step_s(0, 8)
    assert times.kv_tokens > 1_000_000


def test_a_decode_step_is_no_faster_than_its_bytes():
    times = step_times(LLAMA, H100, FP8)
    floor = LLAMA.weight_bytes("fp8") / 8 / 3350e9
    assert times.step_s(0, 1) > floor
    assert times.step_s(0, 1) < 6 * floor


def test_kv_shards_no_further_than_kv_heads():
    g = ground(R1, GB200, "fp4", "fp8")
    one, eight = (slopes(g, degrees([Layout("fp4", "fp8", tp=n)])) for n in (8, 16))
    assert float(one.kv_s_per_token[0, 0]) == pytest.approx(float(eight.kv_s_per_token[0, 0]))  # one latent cache: copies


def test_it_does_not_fit_and_says_by_how_much():
    with pytest.raises(DoesNotFit, match=r"GB a chip short") as caught:
        step_times(LLAMA, H100, Layout("bf16", "bf16", tp=1))
    assert "141.1 GB of weights a chip" in caught.value.message
    with pytest.raises(DoesNotFit):
        table(R1, H100, CHAT, SLO, layouts=[Layout("fp8", "fp8", tp=8)])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 4.0), st.sampled_from(["bf16", "fp8", "fp4"]))
def test_fit_is_monotone_in_memory_and_in_bytes(factor, precision):
    bigger = replace(H100, hbm_gb=80.0 * max(1.0, factor))
    d = degrees([Layout(precision, "fp8", tp=8)])
    room = [float(slopes(ground(LLAMA, c, precision, "fp8"), d).kv_tokens[0, 0]) for c in (H100, bigger)]
    assert room[1] >= room[0]
    order = [float(slopes(ground(LLAMA, H100, p, "fp8"), d).weight_gb_per_chip[0, 0]) for p in ("fp4", "fp8", "bf16")]
    assert order == sorted(order)


def test_points_are_not_dominated_and_fit():
    points = table(LLAMA, H100, CHAT, SLO)
    assert points
    for p in points:
        better = [q for q in points if q is not p and q.tok_per_s_per_chip >= p.tok_per_s_per_chip
                  and q.ttft_s <= p.ttft_s and q.tpot_s <= p.tpot_s]  # fmt: skip
        assert not better
        assert 0 < p.mfu_frac < 1
        assert 0 < p.mbu_frac < 1
        assert p.requests_per_s * CHAT.osl_tokens / p.chips == pytest.approx(p.tok_per_s_per_chip)
        assert p.j_per_token == pytest.approx(p.w_per_chip / p.tok_per_s_per_chip)


def test_best_keeps_the_promise_or_says_none():
    point = best(LLAMA, H100, CHAT, SLO)
    assert point is not None
    assert meets(point, SLO)
    assert point.tok_per_s_per_chip == max(p.tok_per_s_per_chip for p in table(LLAMA, H100, CHAT, SLO) if meets(p, SLO))
    assert best(LLAMA, H100, CHAT, Slo(1e-4, 1e-5)) is None
    relaxed = best(LLAMA, H100, CHAT, Slo(deadline_s=86400.0))
    assert relaxed is not None
    assert relaxed.tok_per_s_per_chip >= point.tok_per_s_per_chip


@settings(max_examples=12, deadline=None)
@given(st.floats(1.05, 2.0), st.sampled_from(["hbm_gb_per_s", "hbm_gb", "scale_up_gb_per_s"]))
def test_a_better_chip_is_never_slower(factor, field):
    better = replace(H100, **{field: getattr(H100, field) * factor})
    one, two = (best(LLAMA, c, CHAT, SLO) for c in (H100, better))
    assert one is not None
    assert two is not None
    assert two.tok_per_s_per_chip >= one.tok_per_s_per_chip * 0.999


def test_cached_prompts_are_cheaper():
    plain, cached = (best(LLAMA, H100, Lengths(4000, 300, cached_frac=c), SLO) for c in (0.0, 0.9))
    assert plain is not None
    assert cached is not None
    assert cached.tok_per_s_per_chip > 1.3 * plain.tok_per_s_per_chip


def test_margin_makes_points_slower():
    plain, careful = (best(LLAMA, H100, CHAT, SLO, margin_quantile=q) for q in (0.5, 0.9))
    assert plain is not None
    assert careful is None or careful.tok_per_s_per_chip < plain.tok_per_s_per_chip


def test_kv_precision_halves_kv_time():
    d = degrees([FP8])
    wide, narrow = (float(slopes(ground(LLAMA, H100, "fp8", kv), d).kv_s_per_token[0, 0]) for kv in ("bf16", "fp8"))
    assert wide == pytest.approx(2 * narrow)


def test_expert_imbalance_slows_expert_parallel_layouts():
    g = ground(R1, GB200, "fp4", "fp8")
    skewed = replace(g.rates, imbalance_factor=2.0)
    d = degrees([Layout("fp4", "fp8", tp=1, ep=8, dp=8)])
    n = np.array([[256.0]])
    assert float(tokens_s(g.terms, skewed, d, n)[0, 0]) > float(tokens_s(g.terms, g.rates, d, n)[0, 0])


def test_wide_expert_parallelism_pays_for_leaving_the_domain():
    inside, beyond = (tokens_s(g.terms, g.rates, degrees([Layout("fp8", "fp8", tp=1, ep=32, dp=32)]), np.array([[8192.0]]))
                      for g in (ground(R1, c, "fp8", "fp8") for c in (replace(H100, scale_up_chips=32), H100)))  # fmt: skip
    assert float(beyond[0, 0]) > float(inside[0, 0])


def test_layouts_cover_the_domain_and_precisions():
    found = layouts(R1, GB200)
    assert {x.precision for x in found} == {"fp8", "fp4"}
    assert max(x.chips for x in found) <= 72
    assert any(x.dp > 1 for x in found)
    assert all(x.precision == "bf16" for x in layouts(LLAMA, H100, precisions=("bf16",)))


def test_prompt_and_output_tokens_are_priced_apart_and_add_up():
    point = best(LLAMA, H100, CHAT, SLO)
    assert point is not None
    cost = token_cost(point, CHAT, 3.0)
    spent = cost.usd_per_mtok_in * CHAT.isl_tokens + cost.usd_per_mtok_out * CHAT.osl_tokens
    assert spent == pytest.approx(cost.usd_per_mtok_blended * (CHAT.isl_tokens + CHAT.osl_tokens))


def test_own_measurements_override_and_correct():
    points = table(LLAMA, H100, CHAT, SLO, layouts=[FP8])
    p = points[len(points) // 2]
    seen = Observation(LLAMA.id, "h100-sxm", 8, "fp8", 1000, 500, p.batch, p.tpot_s * 1.5, 0.2)
    fixed = table(LLAMA, H100, CHAT, SLO, layouts=[FP8], own=Own(seen=(seen,)))
    same = next(q for q in fixed if q.batch == p.batch and q.layout == p.layout)
    assert same.basis == "measured"
    assert same.tpot_s == pytest.approx(p.tpot_s * 1.5)
    assert same.ttft_s == pytest.approx(0.2)
    assert same.requests_per_s == pytest.approx(p.batch / (0.2 + 499 * p.tpot_s * 1.5))  # Little's law of the measured loop
    before = {q.batch: q for q in points}
    near = [(before[q.batch], q) for q in fixed if q.basis != "measured" and q.batch in before]
    assert any(b.tpot_s > a.tpot_s * 1.05 for a, b in near)
    assert all(b.slower_ratio == pytest.approx(b.tpot_s / a.tpot_s) for a, b in near)
    assert table(LLAMA, H100, CHAT, SLO, layouts=[FP8], own=Own(seen=(replace(seen, chip="gb200"),))) == points


def test_efficiencies_say_where_they_come_from():
    assert efficiency(H100, "fp8", "vllm").basis == "calibrated"
    assert efficiency(KNOWN.chip("Maia 200"), "fp8").basis == "assumed"
    assert efficiency(KNOWN.chip("Maia 200"), "fp8").error_frac > efficiency(H100, "fp8").error_frac
    for row in rows():
        assert row["source"]
        assert row["as_of"]
        assert row["parameter"] in PARAMETERS
    assert KNOWN.chips.keys() >= {r["subject"] for r in rows() if "-sxm" in r["subject"]}


@pytest.mark.parametrize("line", ["*,*,*,layer_s,x,s,s,d,assumed,0,,", "*,*,*,speed,1,s,s,d,assumed,0,,", "*,*,*,layer_s,-1,s,s,d,guess,0,,"])
def test_bad_efficiency_tables_are_refused(line):
    head = "subject,precision,engine,parameter,value,unit,source,as_of,basis,points,error_frac,note\n"
    with pytest.raises(InputError, match=r"t.csv:2"):
        read(head + line, where="t.csv")


def test_no_gain_over_time_unless_stated():
    assert improved_frac(5.0) == 1.0
    assert improved_frac(1.0, gain_per_year_frac=0.2) == pytest.approx(1.2)
    with pytest.raises(InputError):
        improved_frac(1.0, gain_per_year_frac=-1.0)


def test_missing_facts_are_named():
    with pytest.raises(MissingFact, match="hbm_gb_per_s"):
        step_times(LLAMA, replace(H100, hbm_gb_per_s=None), FP8)


def test_tornado_of_long_decode_is_led_by_memory():
    swings = tornado(KNOWN.model("llama-3.1-8b"), H100, Lengths(16000, 4000), Slo(60.0, 0.05))
    assert swings[0].field in ("hbm_gb_per_s", "hbm_gb")
    assert all(s.high_cost_ratio <= 1.0 + 1e-9 <= s.low_cost_ratio + 2e-9 for s in swings if s.field != "tdp_w")
