"""A plan written for eight gateways and platforms: the very fields and limits their own schemas ask for, and HAProxy's own verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from plans import plan
from ruamel.yaml import YAML

from polysilicon.errors import InputError
from polysilicon.exchange.compilers import COMPILERS, compile_plan, integer_weights, name_of

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def documents(to: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(compile_plan(plan(), to)))


def shape(value: Any) -> Any:
    """What a document is made of: keys and types, list items folded into one."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_gateway_api_httproute() -> None:
    (route,) = documents("httproute")
    assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    (rule,) = route["spec"]["rules"]
    for backend in rule["backendRefs"]:
        assert shape(backend) == {"group": "str", "kind": "str", "name": "str", "weight": "int"}
        assert (backend["group"], backend["kind"]) == ("inference.networking.k8s.io", "InferencePool")
        assert 0 <= backend["weight"] <= 1_000_000
        assert DNS_LABEL.fullmatch(backend["name"])
    assert [b["weight"] for b in rule["backendRefs"]] == [70, 30]
    assert shape(rule["matches"]) == [{"headers": [{"name": "str", "value": "str"}]}]


def test_llm_d_model_rewrite() -> None:
    (rewrite,) = documents("llm-d")
    assert (rewrite["apiVersion"], rewrite["kind"]) == ("inference.networking.x-k8s.io/v1alpha2", "InferenceModelRewrite")
    assert set(rewrite["spec"]) == {"poolRef", "rules"}  # both are required, and there is no third
    assert shape(rewrite["spec"]["poolRef"]) == {"group": "str", "kind": "str", "name": "str"}
    (rule,) = rewrite["spec"]["rules"]
    assert rule["matches"] == [{"model": {"type": "Exact", "value": "planned"}}]
    assert all(shape(t) == {"modelRewrite": "str", "weight": "int"} and 1 <= t["weight"] <= 1_000_000 for t in rule["targets"])


def test_kserve() -> None:
    services = documents("kserve")
    for one in services:
        assert (one["apiVersion"], one["kind"]) == ("serving.kserve.io/v1alpha2", "LLMInferenceService")
        assert shape(one["spec"]) == {
            "model": {"name": "str", "uri": "str"}, "replicas": "int", "router": {"route": {"group": "str", "weight": "int"}, "scheduler": {}},
        }  # fmt: skip
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
    assert len({one["spec"]["router"]["route"]["group"] for one in services}) == 1, "a canary group needs one name, and a weight each"
    assert [one["spec"]["router"]["route"]["weight"] for one in services] == [70, 30]


def test_litellm() -> None:
    (config,) = documents("litellm")
    assert set(config) == {"model_list", "router_settings"}
    for row in config["model_list"]:
        assert shape(row["litellm_params"]) == {"model": "str", "api_base": "str", "api_key": "str", "weight": "int"}
        assert row["litellm_params"]["api_key"].startswith("os.environ/"), "no secret in the file"
        assert row["litellm_params"]["model"].partition("/")[0] == "openai"
    assert config["router_settings"]["routing_strategy"] == "simple-shuffle", "the one that heeds weights"


def test_vllm_production_stack() -> None:
    (values,) = documents("vllm-stack")
    for spec in values["servingEngineSpec"]["modelSpec"]:
        assert shape(spec) == {
            "name": "str", "modelURL": "str", "replicaCount": "int", "requestGPUType": "str", "requestGPU": "int",
            "vllmConfig": {"tensorParallelSize": "int", "pipelineParallelSize": "int", "enablePrefixCaching": "bool"},
        }  # fmt: skip
        assert spec["requestGPU"] == spec["vllmConfig"]["tensorParallelSize"] * spec["vllmConfig"]["pipelineParallelSize"]


def test_skypilot() -> None:
    for task in documents("skypilot"):
        assert set(task) == {"name", "resources", "service"}
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+){0,2}", task["resources"]["infra"])
        assert re.fullmatch(r"[A-Za-z0-9-]+:\d+", task["resources"]["accelerators"])
        policy = task["service"]["replica_policy"]
        allowed = {"min_replicas", "max_replicas", "target_qps_per_replica", "dynamic_ondemand_fallback", "spot_placer"}
        assert set(policy) <= allowed
        assert 1 <= policy["min_replicas"] <= policy["max_replicas"]


def test_openrouter() -> None:
    for row in json.loads(compile_plan(plan(), "openrouter")):
        assert set(row["provider"]) <= {"order", "allow_fallbacks", "only", "ignore", "sort", "require_parameters", "data_collection"}
        assert row["provider"]["order"] == sorted(row["x_share"], key=lambda cloud: -row["x_share"][cloud])
        assert sum(row["x_share"].values()) == pytest.approx(1.0)


def test_haproxy_itself_accepts_it(tmp_path: Path) -> None:
    text = compile_plan(plan(), "haproxy")
    weights = [int(x) for x in re.findall(r" weight (\d+)", text)]
    assert sum(weights) == 256
    assert all(1 <= w <= 256 for w in weights)
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("HAProxy is not installed")
    front = "frontend f\n    mode http\n    timeout client 15m\n    bind 127.0.0.1:1\n    default_backend chat\n\n"
    path = tmp_path / "haproxy.cfg"
    path.write_text(front + text)
    addresses = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "127.0.0.1:2")
    done = subprocess.run([binary, "-c", "-f", str(path)], env={**os.environ, **addresses}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, "an ignored `http-no-delay` would cost every stream 187 ms"


def test_names_that_are_cut_stay_apart() -> None:
    long = "a-workload-with-quite-a-long-name-for-agents-"
    one, two = (name_of(f"{long}GB300@azure/germany-west-central-{zone}") for zone in "12")
    assert one != two
    assert all(DNS_LABEL.fullmatch(n) for n in (one, two))
    assert name_of("GB300@aws/us-east-1") == "gb300-aws-us-east-1"
    assert sum(integer_weights([0.98, 0.01, 0.005, 0.005])) == 100
    with pytest.raises(InputError, match="period 3 places nothing"):
        compile_plan(plan(), "litellm", period=3)
    assert len(COMPILERS) == 8
