"""Other gateways in front of the same target, each pinned to the core ours has: for ratios in one run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

# requests a second of one core of a 2-core machine, measured before (2026-11): printed beside a peer that is absent, never used for a ratio
KNOWN = {"nginx": 40_743, "vllm-router 0.1.17": 8_836, "SMG 1.13.0": 3_250, "Portkey 1.15.2": 384, "LiteLLM 1.106.2": 77}
HOW = {
    "nginx": "apt-get install nginx",
    "vllm-router 0.1.17": "pip install vllm-router==0.1.17 in a venv of its own; --vllm-router, VLLM_ROUTER or PATH",
    "SMG 1.13.0": "pip install smg==1.13.0 in a venv of its own; --smg, SMG or PATH",
    "Portkey 1.15.2": "npm install @portkey-ai/gateway; --portkey or PORTKEY names its build/start-server.js; node on PATH",
    "LiteLLM 1.106.2": "pip install 'litellm[proxy]==1.106.2' in a venv of its own (1.107.0 was compromised); --litellm, LITELLM or PATH",
}
BEFORE: list[str] = []  # what comes before every command that is measured
FLAGS = {"vllm-router 0.1.17": "vllm_router", "SMG 1.13.0": "smg", "Portkey 1.15.2": "portkey", "LiteLLM 1.106.2": "litellm"}
COMMANDS = {"vllm_router": "vllm-router", "smg": "smg", "portkey": "", "litellm": "litellm"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def found(name, options):
    """The program of a peer, by flag, environment or PATH; empty where it is absent."""
    if name == "nginx":
        return shutil.which("nginx") or ""
    flag = FLAGS[name]
    given = getattr(options, flag, "") or os.environ.get(flag.upper(), "")
    if given:
        return given if Path(given).exists() else ""
    return (shutil.which(COMMANDS[flag]) or "") if COMMANDS[flag] else ""


class Peer:
    """One of them, answering."""

    def __init__(self, name, program, folder, upstream, core):
        self.name = name
        self.port = free_port()
        self.metrics = free_port()
        self.headers = b""
        url = f"http://127.0.0.1:{upstream}"
        command = self._command(program, folder, url, upstream)
        env = {**os.environ, "TOKIO_WORKER_THREADS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "PYTHONPATH": ""}
        if core is not None and shutil.which("taskset"):
            command = [*BEFORE, "taskset", "-c", str(core), *command]
        self.log = (folder / f"{name.split()[0]}.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=env, cwd=folder, start_new_session=True)

    def _command(self, program, folder, url, upstream):
        at = ["--host", "127.0.0.1", "--port", str(self.port)]
        if self.name == "nginx":
            (folder / "nginx.conf").write_text(
                f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit; events {{worker_connections 8192;}}\n"
                f"http {{access_log off; client_max_body_size 100m; keepalive_requests 100000000;\n"
                f"upstream u {{server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000;}}\n"
                f"server {{listen 127.0.0.1:{self.port}; location / {{proxy_pass http://u; proxy_http_version 1.1;"
                f" proxy_set_header Connection ''; proxy_buffering off;}}}}}}\n"
            )
            return [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        if self.name.startswith("vllm-router"):
            return [program, *at, "--worker-urls", url, "--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(self.metrics)]
        if self.name.startswith("SMG"):
            return [program, "launch", *at, "--worker-urls", url, "--policy", "round_robin", "--log-level", "error", "--disable-tokenizer-autoload",
                    "--prometheus-port", str(self.metrics)]  # fmt: skip
        if self.name.startswith("Portkey"):
            self.headers = b"x-portkey-provider: openai\r\nx-portkey-custom-host: %b/v1\r\n" % url.encode()
            return ["node", program, f"--port={self.port}", "--headless"]
        (folder / "litellm.yaml").write_text(
            f"model_list:\n- model_name: gpt\n  litellm_params:\n    model: openai/gpt\n    api_base: {url}/v1\n    api_key: x\n"
            "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
        )
        return [program, "--config", str(folder / "litellm.yaml"), *at, "--num_workers", "1"]

    def wait(self, ask, seconds=90):
        """Wait until it answers a request with 200; return whether it did."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            if ask(self.port) == 200:
                return True
            time.sleep(0.3)
        return False

    def pids(self):
        """Its processes: the whole session that it began."""
        out = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                out.append(int(path.parent.name))
        return out

    def stop(self):
        for pid in self.pids():
            try:
                os.kill(pid, 15)
            except OSError:
                continue
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in self.pids():
                os.kill(pid, 9)
            self.process.wait(10)
        self.log.close()
