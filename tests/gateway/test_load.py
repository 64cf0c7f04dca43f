"""The benchmark's two generators, in C and in Python, ask and answer alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BODY = b'{"model":"m","max_tokens":5,"stream":%b,"messages":[{"role":"user","content":"hello"}]}'


@pytest.fixture(scope="module", params=["python", "c"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if request.param == "python":
        return [sys.executable, str(BENCHMARKS / "gateway_load.py")]
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    out = tmp_path_factory.mktemp("load") / "load"
    subprocess.run([compiler, "-O2", "-o", str(out), str(BENCHMARKS / "gateway_load.c")], check=True)
    return [str(out)]


@pytest.fixture(scope="module")
def port(program: list[str]) -> Iterator[int]:
    with subprocess.Popen([*program, "mock"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def said(folder: Path, *, stream: bool, chat: bool) -> Path:
    body = BODY % (b"true" if stream else b"false")
    path = b"/v1/chat/completions" if chat else b"/v1/messages"
    file = folder / "request.http"
    file.write_bytes(b"POST %b HTTP/1.1\r\nhost: x\r\nx-n: @@@@@@@@\r\ncontent-length: %d\r\n\r\n%b" % (path, len(body), body))
    return file


def ran(program: list[str], *rest: object) -> dict[str, Any]:
    done = subprocess.run([*program, *map(str, rest)], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("chat", [False, True])
def test_whole_answers(program: list[str], port: int, tmp_path: Path, chat: bool) -> None:
    file = said(tmp_path, stream=False, chat=chat)
    for got in (ran(program, "closed", port, file, 0.2, 4), ran(program, "open", port, file, 0.3, 8, 50)):
        assert got["requests"] == got["ok"] > 5
        assert not got["lost"]
        assert {"latency_p50_ms", "latency_p99_ms", "requests_per_s", "p99_ms_by_second", "no_connection_free", "seconds"} <= got.keys()


@pytest.mark.parametrize("chat", [False, True])
def test_streams(program: list[str], port: int, tmp_path: Path, chat: bool) -> None:
    got = ran(program, "streams", port, said(tmp_path, stream=True, chat=chat), 3, 0.1)
    assert (got["streams"], got["whole"], got["tokens"]) == (3, 3, 15)
    assert {"ttft_p50_ms", "ttft_p99_ms", "relay_p50_ms", "relay_p99_ms"} <= got.keys()
