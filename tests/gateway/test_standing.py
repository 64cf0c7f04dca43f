"""A gateway takes its state folder and its ports for itself, or says who has them; one that was killed leaves nothing that is in the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from rig import Rig, endpoint
from servers import free_port

from polysilicon.errors import InputError
from polysilicon.gateway.standing import Standing, check_free, listening

RUN = (sys.executable, "-c", "from polysilicon.cli.app import main; main()")


def gateway_file(folder: Path, target: int, name: str, **changes: object) -> Path:
    given = {"port": free_port(), "admin": free_port(), "state": folder / f"state-{name}", **changes}
    path = folder / f"{name}.yaml"
    path.write_text(
        f"polysilicon: 1\nlisten: {{port: {given['port']}, workers: 2, open: true}}\nadmin: {{port: {given['admin']}, key: env:RIG_TOKEN}}\n"
        f"state: {given['state']}\ndrain_s: 2\ntargets:\n  - {{id: a, door: claude, url: 'http://127.0.0.1:{target}', cloud: c, region: us, "
        "secret: {token: env:RIG_TOKEN}, models: {opus: {price: {usd_per_mtok_in: 1, usd_per_mtok_out: 2}}}}\n"
    )
    return path


def start(path: Path) -> subprocess.Popen[str]:
    """Start a gateway; return once both workers serve, or it has ended."""
    process = subprocess.Popen([*RUN, "serve", "--config", str(path)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    ready = 0
    for line in process.stderr:
        ready += min(line.count('"worker"'), line.count('"serving"'))  # two may share a line: a text and its end are two writes
        if ready >= 2:
            break
    return process


def answered(port: int) -> int:
    body = json.dumps({"model": "opus", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/v1/messages", body), timeout=20) as answer:
        return int(answer.status)


def workers_of(state: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(state / "wiring.bin") in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_what_is_taken_is_refused_before_anything_starts(rig: Callable[..., Rig], tmp_path: Path) -> None:
    target = rig([endpoint("a", "claude")]).emulator["a"].port
    port, admin = free_port(), free_port()
    first = start(gateway_file(tmp_path, target, "first", port=port, admin=admin))
    try:
        for name, taken, said in (
            ("state", {"state": tmp_path / "state-first"}, f"another gateway (process {first.pid})"), ("port", {"port": port}, "listen.port"),
            ("admin", {"admin": admin}, "admin.port"),
        ):  # fmt: skip
            path = gateway_file(tmp_path, target, name, **taken)
            done = subprocess.run([*RUN, "serve", "--config", str(path)], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1, (name, done.stderr)
            assert said in done.stderr
            assert "Traceback" not in done.stderr
            assert name == "state" or workers_of(tmp_path / f"state-{name}") == [], "no worker is left behind"
        assert answered(port) == 200
        assert len(workers_of(tmp_path / "state-first")) == 2
    finally:
        first.terminate()
        first.communicate(timeout=60)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="orphans are found by /proc")
def test_a_killed_controllers_workers_serve_on_until_another_takes_over(rig: Callable[..., Rig], tmp_path: Path) -> None:
    target = rig([endpoint("a", "claude")]).emulator["a"].port
    port = free_port()
    path = gateway_file(tmp_path, target, "one", port=port)
    first = start(path)
    before = set(workers_of(tmp_path / "state-one"))
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=60)
    assert first.stderr is not None
    first.stderr.close()
    assert len(before) == 2
    assert answered(port) == 200, "traffic goes on without a controller"
    second = start(path)
    try:
        after = set(workers_of(tmp_path / "state-one"))
        assert len(after) == 2
        assert not after & before
        assert answered(port) == 200
    finally:
        second.terminate()
        second.communicate(timeout=60)
    assert workers_of(tmp_path / "state-one") == []


def test_locks_and_addresses(tmp_path: Path) -> None:
    held = Standing(tmp_path / "s")
    with pytest.raises(InputError, match=f"process {os.getpid()}"):
        Standing(tmp_path / "s")
    held.leave()
    Standing(tmp_path / "s").leave()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Standing(tmp_path / "file" / "s")
    with socket.create_server(("127.0.0.1", 0)) as there, pytest.raises(InputError, match="in use"):
        check_free("127.0.0.1", there.getsockname()[1], "listen.port")
    with pytest.raises(InputError, match="cannot listen"):
        listening("192.0.2.1", 80, "admin.port")
    check_free("127.0.0.1", 0, "listen.port")
