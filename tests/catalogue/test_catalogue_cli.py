"""The commands as a user calls them: tables, JSON, errors in one line, never a traceback, never half a file."""

from __future__ import annotations

import json

import pytest

from polysilicon.cli import app

BAD = "subject,parameter,value,unit,source,as_of,basis,note\nh100-sxm,tdp_w,nan,W,s,2026,measured,\n"


@pytest.fixture
def call(monkeypatch, capfd):
    """Run the command line in this process; return exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["polysilicon", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "220")
        try:
            app.main()
            code = 0
        except SystemExit as done:
            code = done.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_chips_lists_every_chip_and_system(call):
    code, out, _ = call("chips")
    assert code == 0
    for name in ("h100-sxm", "maia-200", "tpu-v7", "gaudi3", "gb200-nvl72", "trn3-gen2-ultraserver", "datasheet", "announced"):
        assert name in out


def test_chips_of_a_vendor(call):
    code, out, _ = call("chips", "--vendor", "aws", "--json")
    assert code == 0
    assert {row["vendor"] for row in json.loads(out) if row["kind"] == "chip"} == {"AWS"}


def test_one_chip_shows_facts_dates_and_references(call):
    _, out, _ = call("chips", "Ironwood")
    for word in ("dense_tflop_per_s.fp8", "google-tpu7x-docs", "docs.cloud.google.com", "2026-11-22", "estimate"):
        assert word in out


def test_json_of_a_system_has_its_provenance(call):
    _, out, _ = call("chips", "NVL72", "--json")
    (rack,) = json.loads(out)
    assert rack["kind"] == "system"
    assert {f["parameter"]: f["source"] for f in rack["facts"]}["rack_kw"] == "nvl72-power"


def test_a_config_by_path(call, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 14336, "vocab_size": 128256}))
    code, out, _ = call("models", tmp_path / "config.json", "--json")
    assert code == 0
    assert json.loads(out)["model"]["total_params"] == pytest.approx(8.03e9, rel=0.01)


def test_closed_models_show_their_band_and_what_they_are_computed_as(call):
    _, out, _ = call("models", "claude-opus-5-5", "--on", "2026-11-22")
    for word in ("70 to 200", "deepseek-v3", "assumption", "ecologits"):
        assert word in out


def test_models_list_with_prices(call):
    code, out, _ = call("models", "--on", "2026-11-22")
    assert code == 0
    assert "qwen3-235b-a22b" in out
    assert "claude-sonnet-5" in out
    assert "sources differ" in out


def test_offers_filter_and_warn(call):
    code, out, err = call("offers", "--chip", "H100", "--cloud", "azure", "--json")
    assert code == 0
    assert {o["region"] for o in json.loads(out)} == {"eastus", "eastus2", "westus"}
    assert "more than 180 days ago" in err
    _, out, _ = call("offers", "--kind", "quote_only", "--cloud", "azure")
    assert "quote" in out
    _, now, _ = call("offers", "--cloud", "nebius", "--json")
    _, ever, _ = call("offers", "--cloud", "nebius", "--history", "--json")
    assert len(json.loads(ever)) > len(json.loads(now))
    _, out, _ = call("offers", "--region", "europe-*", "--json")
    assert all(o["region"].startswith("europe-") for o in json.loads(out))


def test_ports_summary_records_and_matrix(call):
    _, out, _ = call("ports", "--model", "llama-3.1-70b", "--chip", "Trainium2", "--json")
    assert {(p["model_family"], p["chip_family"]) for p in json.loads(out)} == {("llama", "neuron")}
    _, out, _ = call("ports", "--model", "minimax", "--chip", "tpu", "--records", "--json")
    assert {r["evidence"] for r in json.loads(out)} == {"untested"}
    _, out, _ = call("ports", "--model", "minimax", "--chip", "tpu")
    assert "unknown, not impossible" in out
    _, out, _ = call("ports", "--matrix")
    assert "unknown" in out
    _, out, _ = call("ports", "--matrix", "--json")
    assert all(cell["sources"] for cell in json.loads(out))


def test_diff_of_embedded_data_with_itself_is_empty(call):
    _, out, _ = call("catalogue-diff", "embedded", "embedded", "--json")
    assert json.loads(out)["changes"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("chips", "GB30"), 1, "did you mean"),
        (("chips", "--vendor", "nvidea"), 1, "did you mean"),
        (("chips", "--compare", "H100"), 2, "needs two names"),
        (("chips", "--compare", "H100", "NVL72"), 1, "is a system of 72"),
        (("chips", "--equivalent", "0xH100", "GB200"), 1, "1 to 1,000,000,000"),
        (("chips", "--equivalent", "1.5xH100", "GB200"), 1, "not a fleet"),
        (("chips", "--equivalent", "9xGB999", "GB200"), 1, "GB999"),
        (("models", "lama-3.1-70b"), 1, "did you mean"),
        (("models", "--on", "tomorrow"), 1, "not a date"),
        (("models", "nothing/config.json"), 1, "cannot be read"),
        (("offers", "--cloud", "azur"), 1, "did you mean"),
        (("offers", "--kind", "ondemand"), 1, "did you mean"),
        (("offers", "--chip", "H1000"), 1, "did you mean"),
        (("ports", "--model", "nobody"), 1, "nobody"),
        (("ports", "--chip", "H1000"), 1, "did you mean"),
        (("chips", "--overlay", "nowhere.csv"), 1, "cannot be read"),
        (("catalogue-diff", "nowhere.csv"), 1, "cannot be read"),
    ],
)
def test_mistakes_are_one_clear_error(call, arguments, code, words):
    found, out, err = call(*arguments)
    assert found == code
    assert words in err
    assert out == ""
    assert "Traceback" not in err


def test_a_bad_overlay_tells_its_place(call, tmp_path):
    (tmp_path / "o.csv").write_text(BAD)
    code, _, err = call("chips", "--overlay", tmp_path / "o.csv")
    assert code == 1
    assert f'{tmp_path}/o.csv:2:16: "nan" is not a number' in err


@pytest.mark.parametrize("command", [("import", "skypilot", "in.csv", "--cloud", "aws"), ("import", "token-prices", "in.csv")])
@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region\nx,H100,8,NaN,,r\n"]
)
def test_a_failed_import_writes_nothing(call, tmp_path, monkeypatch, command, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(content)
    code, _, err = call(*command, "-o", "out.csv")
    assert code == 1
    assert "in.csv" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv"]


def test_an_import_reports_what_it_left_out(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = "InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region\n"
    (tmp_path / "in.csv").write_text(head + "p5,H100,8,55.04,,us-east-1\ng5,A10G,1,1.0,,us-east-1\n")
    code, _, err = call("import", "skypilot", "in.csv", "--cloud", "oci", "--on", "2026-11-20", "-o", "out.csv")
    assert code == 0
    assert "1 offers from 2 rows" in err
    assert "A10G: not in the catalogue" in err
    assert "oracle-us-east-1-h100-sxm-on-demand" in (tmp_path / "out.csv").read_text()
    code, _, err = call("import", "skypilot", "in.csv", "--cloud", "aws", "--on", "someday")
    assert (code, "not a date" in err) == (1, True)
