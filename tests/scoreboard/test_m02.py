"""M02: KV bytes of 200k and 1M tokens, and how many such sessions a chip holds."""

import json

from command import run


def test_kv_of_long_contexts_and_sessions_per_chip():
    model = json.loads(run("models", "llama-3.1-405b", "--json").stdout)["model"]
    assert model["kv_bytes_per_token"]["bf16"] == 2 * 126 * 8 * 128 * 2
    assert model["kv_gb_at_context"]["200000"] == 516_096 * 200_000 / 1e9
    assert model["kv_gb_at_context"]["1000000"] == 516.096
    assert model["sessions_per_chip"]["gb300"]["200000"] == int(288e9 // (516_096 * 200_000)) == 2
    assert model["sessions_per_chip"]["h100-sxm"]["200000"] == 0


def test_every_model_prints_both_contexts():
    for model in json.loads(run("models", "--json").stdout)["models"]:
        assert model["kv_gb_at_context"]["1000000"] >= model["kv_gb_at_context"]["200000"] > 0
