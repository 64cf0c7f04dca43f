"""A07: a sub-second promise at long context is answered yes or no, with the best chip and the reason."""

import json

from command import run

from polysilicon.application.generate import lengths
from polysilicon.application.presets import preset


def test_the_preset_is_sub_second_at_long_context():
    asked = preset("multi-document")
    assert asked.slo.ttft_s == 1.0
    assert lengths(asked.profile).isl_tokens > 10_000


def test_yes_with_the_best_chip():
    told = json.loads(run("feasible", "qwen3-32b", "--chip", "b200-sxm,h100-sxm", "--json").stdout)
    assert told["yes"] is True and told["answer"].startswith("yes: ") and "best is" in told["answer"]
    best = told["rows"][0]
    assert best["chip"] in told["answer"] and best["ttft_s"] <= 1.0


def test_no_with_the_reason():
    told = json.loads(
        run("feasible", "llama-3.1-405b", "--chip", "h100-sxm,a100-80gb", "--cold", "--ttft", "0.05", "--json").stdout
    )
    assert told["yes"] is False and told["answer"].startswith("no: ")
    assert all(row["reason"] for row in told["rows"])
    assert "0.05 s is promised" in told["answer"]
