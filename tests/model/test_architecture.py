"""Architectures from config.json: published sizes, many spellings, every problem at once; work by hand."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import catalogue
from polysilicon.errors import InputError, InputErrors
from polysilicon.model.architecture import from_config
from polysilicon.model.work import experts_hit, pairs, step_work, terms

KNOWN = catalogue.load()
LLAMA = {
    "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "intermediate_size": 28672, "vocab_size": 128256,
}  # fmt: skip
# total and active parameters in 1e9, as published
PUBLISHED = {
    "llama-3.1-8b": (8.03, 8.03), "llama-3.1-70b": (70.6, 70.6), "llama-3.1-405b": (405.9, 405.9), "qwen3-32b": (32.8, 32.8),
    "qwen3-30b-a3b": (30.5, 3.3), "qwen3-235b-a22b": (235.0, 22.0), "deepseek-v3": (671.0, 37.0), "deepseek-r1": (671.0, 37.0),
    "gpt-oss-120b": (116.8, 5.1), "gpt-oss-20b": (20.9, 3.6), "mixtral-8x7b": (46.7, 12.9), "mixtral-8x22b": (141.0, 39.0),
}  # fmt: skip
# active counts here include embeddings, which these cards leave out
EMBEDDINGS_LEFT_OUT = ("gpt-oss-120b", "gpt-oss-20b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name):
    model = KNOWN.model(name)
    total, active = PUBLISHED[name]
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.01)
    counted = model.active_params
    if name in EMBEDDINGS_LEFT_OUT:
        counted -= model.embedding_params / 2
    assert counted / 1e9 == pytest.approx(active, rel=0.03)


def test_kv_bytes_per_token():
    assert KNOWN.model("llama-3.1-70b").kv_bytes_per_token("bf16") == 327_680
    assert KNOWN.model("llama-3.1-70b").kv_bytes_per_token("fp8") == 163_840
    assert KNOWN.model("deepseek-v3").kv_bytes_per_token("bf16") == 70_272
    oss = KNOWN.model("gpt-oss-120b")
    assert oss.kv_bytes_per_token("bf16") == 73_728
    assert oss.kv_bytes_per_token("bf16", context_tokens=128_000) == pytest.approx(36_864 * (1 + 128 / 128_000))


def test_released_checkpoints_weigh_what_they_weigh():
    assert KNOWN.model("gpt-oss-120b").weight_bytes("fp4") / 1e9 == pytest.approx(65.3, rel=0.06)  # experts in mxfp4, rest bf16
    assert KNOWN.model("deepseek-r1").weight_bytes("fp8") / 1e9 == pytest.approx(671, rel=0.01)
    assert KNOWN.model("llama-3.1-70b").weight_bytes("bf16") / 1e9 == pytest.approx(141, rel=0.01)


def test_numbers_may_be_strings_and_nested():
    strings = {k: str(v) for k, v in LLAMA.items()}
    assert from_config("m", strings).total_params == from_config("m", LLAMA).total_params
    nested = {"model_type": "wrapper", "text_config": LLAMA}
    assert from_config("m", nested).total_params == from_config("m", LLAMA).total_params


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"sliding_window": 1024, "layer_types": ["sliding_attention", "full_attention"] * 40}, {"window", "full"}),
        ({"full_attention_interval": 4, "linear_num_key_heads": 16}, {"linear", "full"}),
        ({"attn_type_list": [0, 1] * 40}, {"linear", "full"}),
        ({"kv_lora_rank": 512, "q_lora_rank": 1536}, {"mla"}),
        ({"kv_lora_rank": 512, "q_lora_rank": 1536, "index_topk": 2048}, {"sparse"}),
    ],
)
def test_attention_patterns(change, kinds):
    model = from_config("m", {**LLAMA, **change})
    assert {g.attention for g in model.groups} == kinds
    assert model.layers == 80


def test_leading_dense_and_interleaved_experts():
    moe = {"n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 1024, "n_shared_experts": 1}
    assert from_config("m", {**LLAMA, **moe, "first_k_dense_replace": 3}).moe_layers == 77
    assert from_config("m", {**LLAMA, **moe, "interleave_moe_layer_step": 2}).moe_layers == 40


@pytest.mark.parametrize("bad", ["x", "-1", "1e400", "nan", [], {}, 1e18])
def test_bad_numbers_are_input_errors(bad):
    with pytest.raises(InputErrors, match="hidden_size"):
        from_config("m", {**LLAMA, "hidden_size": bad}, where="config.json")


def test_every_problem_at_once():
    with pytest.raises(InputErrors) as caught:
        from_config("m", {"model_type": "llama"}, where="config.json")
    assert len(caught.value.problems) >= 3
    with pytest.raises(InputError):
        from_config("m", [], where="config.json")  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from([*LLAMA, "n_routed_experts", "layer_types"]), st.one_of(st.none(), st.integers(-5, 99), st.text(max_size=5))))
def test_fuzzed_configs_never_crash(change):
    with contextlib.suppress(InputError):
        from_config("m", {**LLAMA, **change})


def test_work_of_a_decode_step_by_hand():
    model = from_config("m", LLAMA)
    work = step_work(model, contexts=(1000.0,))
    t = terms(model)
    assert work.flop == pytest.approx(2 * (t.dense_params + t.head_params) + 4 * 80 * 64 * 128 * 1000)
    assert work.hbm_bytes == pytest.approx(t.dense_bytes + t.head_bytes + 327_680 * 1001)
    assert step_work(model).flop == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 512), st.integers(1, 16), st.integers(0, 5000))
def test_experts_hit_is_between_one_visit_and_all(experts, per_token, tokens):
    hit = float(experts_hit(experts, per_token, tokens))
    assert -1e-9 <= hit <= experts * (1 + 1e-9)
    assert hit <= tokens * min(per_token, experts) * (1 + 1e-6) + 1e-9
    assert float(experts_hit(experts, per_token, tokens, skew_factor=2.0)) <= hit + 1e-9


def test_pairs_of_chunks_add_up():
    whole = float(pairs(100))
    assert float(pairs(60)) + float(pairs(40, 60)) == pytest.approx(whole)
    assert float(pairs(100, 0, 10)) == pytest.approx(55 + 90 * 10)
