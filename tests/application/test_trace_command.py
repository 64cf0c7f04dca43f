"""`polysilicon trace` and `polysilicon feasible` as a user runs them."""

import json
import os
import subprocess
import sys

import pytest

MAIN = "from polysilicon.cli.app import main; main()"


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_generate_describe_convert(tmp_path):
    made = run(
        "trace", "generate", "chat", "-o", "chat.parquet", "--rps", "2", "--hours", "0.5", "--flat", "--json", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["requests"] == 3600
    told = run("trace", "describe", "chat.parquet", "--json", cwd=tmp_path)
    record = json.loads(told.stdout)
    assert record["requests"] == 3600 and record["mean_rps"] == pytest.approx(2, rel=0.01)
    assert 0.2 < record["infinite_cache_reuse_frac"] < 0.5
    done = run("trace", "convert", "chat.parquet", "-o", "chat.csv", "--scale", "20", cwd=tmp_path)
    assert done.returncode == 0 and "prefix blocks are left out" in done.stderr
    assert json.loads(run("trace", "describe", "chat.csv", "--json", cwd=tmp_path).stdout)["mean_rps"] == pytest.approx(
        20, rel=0.01
    )


def test_same_seed_same_file(tmp_path):
    for name in ("a.csv", "b.csv"):
        assert run("trace", "generate", "enterprise", "-o", name, "--hours", "0.2", "--seed", "3", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("trace", "describe", "nowhere.csv"), 1, "no such file"),
        (("trace", "generate", "chatt", "-o", "x.csv"), 1, 'did you mean "chat"'),
        (("trace", "generate", "chat", "-o", "x.doc"), 2, "use .parquet, .csv or .jsonl"),
        (("trace", "generate", "chat", "-o", "x.csv", "--rps", "nan"), 1, "positive finite"),
        (("feasible", "qwen3-32b", "--preset", "multidocument"), 1, 'did you mean "multi-document"'),
    ],
)
def test_wrong_calls_are_one_line(tmp_path, arguments, code, told):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code and told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_a_bad_file_tells_its_lines_and_exits_1(tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,isl_tokens,osl_tokens\n0,1,1\n1,-1,1\n2,x,1\n")
    done = run("trace", "describe", "t.csv", cwd=tmp_path)
    assert done.returncode == 1 and "t.csv:3:" in done.stderr and "t.csv:4:" in done.stderr and "Traceback" not in done.stderr
