"""Names people write, and what is said when nothing fits."""

from __future__ import annotations

import json

import pytest

from polysilicon.catalogue import load
from polysilicon.errors import InputError, InputErrors

KNOWN = load()


@pytest.mark.parametrize(
    ("said", "meant"),
    [("H100", "h100-sxm"), ("h100 sxm", "h100-sxm"), ("GB200", "gb200"), ("Ironwood", "tpu-v7"), ("Trillium", "tpu-v6e"),
     ("TPU v5p", "tpu-v5p"),
     ("maia200", "maia-200"), ("Trainium2", "trainium2"), ("Vera Rubin", "rubin"), ("a100-40gb", "a100-40gb")],
)  # fmt: skip
def test_chips_by_names_people_write(said, meant):
    assert KNOWN.chip(said).id == meant


def test_a_rack_is_not_a_chip():
    with pytest.raises(InputError, match="NVL72") as caught:
        KNOWN.chip("NVL72", where="s.yaml:3:1")
    assert "72 gb200" in caught.value.hint
    assert caught.value.where == "s.yaml:3:1"


def test_near_misses_are_named():
    with pytest.raises(InputError) as caught:
        KNOWN.chip("GB30")
    assert "gb300" in caught.value.hint
    with pytest.raises(InputError) as caught:
        KNOWN.model("deepsek-v3")
    assert "deepseek-v3" in caught.value.hint
    with pytest.raises(InputError):
        KNOWN.system("nothing")
    with pytest.raises(InputError):
        KNOWN.offer("aws")


def test_models_by_hub_name_closed_name_and_path(tmp_path):
    assert KNOWN.model("meta-llama/Meta-Llama-3.1-70B").id == "llama-3.1-70b"
    assert KNOWN.model("claude-opus-5-5").id == KNOWN.profile("claude-opus-5-5").stand_in
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 1000,
    }
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    assert KNOWN.model(str(folder / "config.json")).id == "my-model"
    assert KNOWN.model(str(folder)).total_params == KNOWN.model(str(folder / "config.json")).total_params


def test_precision_beside_a_config_is_read(tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 1000,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "NVFP4"}}))
    assert KNOWN.model(str(tmp_path / "config.json")).native_precision == "fp4"


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", '{"hidden_size": NaN}', '{"model_type": "llama", "hidden_size": 1e400}', "\x00", "{}"]
)
def test_a_config_that_is_none_is_one_clear_error(tmp_path, content):
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises((InputError, InputErrors)) as caught:
        KNOWN.model(str(file))
    assert str(file) in str(caught.value)


def test_models_known_but_not_computable_say_why():
    with pytest.raises(InputError, match="compressed attention"):
        KNOWN.model("deepseek-v4-pro")


def test_missing_config_file():
    with pytest.raises(InputError, match="cannot be read"):
        KNOWN.model("nowhere/config.json")


def test_ports_are_unknown_where_nothing_was_seen():
    assert KNOWN.port("llama", "neuron").status == "production"
    assert KNOWN.port("deepseek-mla", "neuron") is None
    assert KNOWN.port("llama", "maia") is None
    assert KNOWN.port("no-such-family", "tpu") is None
    assert all(p.source in KNOWN.sources and p.status in ("pilot", "production") for p in KNOWN.ports)


def test_records_that_were_never_tested_make_no_port():
    untested = [r for r in KNOWN.port_records if r.get("evidence") == "untested"]
    assert untested
    assert all(r.get("status") == "" for r in untested)
    assert not any(p.model_family == "minimax" and p.chip_family == "tpu" for p in KNOWN.ports)
