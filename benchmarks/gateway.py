"""The gateway under load: throughput, added latency, streams, large bodies, memory, recovery. `python benchmarks/gateway.py --json`.

One worker with every feature on (keys, budget, plan weights, session affinity, usage, ledger, counters) pinned to one core; a minimal
upstream and the load generator share another. Figures of CPU come from the kernel's account of the worker, so they hold on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import uvloop

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway.controller import write_wiring
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Budget, Key, Reliability, Route, Secret, Target, Variant, Wiring

MODEL = "opus"
ANSWER = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [{"type": "text", "text": "word " * 30}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 30},
}).encode()  # fmt: skip
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: r1\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"opus","content":[],' \
        b'"stop_reason":null,"usage":{"input_tokens":100,"output_tokens":1}}}\n\n'  # fmt: skip
END = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}\n\n' \
      b'event: message_stop\ndata: {"type":"message_stop"}\n\n'  # fmt: skip


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Mock(asyncio.Protocol):
    """A target that answers at once: it looks for the end of the body and nothing else."""

    def __init__(self) -> None:
        self.need = -1
        self.have = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.have = self.have + data if self.have else data
        while self.have:
            if self.need < 0:
                end = self.have.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = self.have[:end].lower()
                at = head.find(b"content-length: ")
                self.need = end + 4 + int(head[at + 16 :].split(b"\r", 1)[0])
            if len(self.have) < self.need:
                return
            body, self.have, self.need = self.have[: self.need], self.have[self.need :], -1
            at = body.find(b'"stream":true')
            if at >= 0:
                tokens = int(body.split(b'"max_tokens":', 1)[1].split(b",", 1)[0])
                asyncio.get_running_loop().create_task(self.stream(tokens))
            else:
                self.transport.write(WHOLE)

    async def stream(self, tokens):
        """One token each 20 ms, each with the time it was sent."""
        self.transport.write(STREAM_HEAD + chunk(START))
        for i in range(tokens):
            if i:
                await asyncio.sleep(0.02)
            data = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%.6f"}}\n\n'
            self.transport.write(chunk(data % time.monotonic()))
        self.transport.write(chunk(END) + b"0\r\n\r\n")


def mock_process(port, ready, core, certificate):
    pin(core)

    async def go():
        tls = None
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
        server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0, ssl=tls, backlog=1024)
        port.value = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.Event().wait()

    uvloop.run(go())


def pin(core):
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


class Client(asyncio.Protocol):
    """One connection of the load generator."""

    def __init__(self):
        self.waiter = None
        self.buffer = b""
        self.need = -1
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.lost = True
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(0)

    def data_received(self, data):
        self.buffer = self.buffer + data if self.buffer else data
        if self.need < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.buffer.find(b"content-length: ", 0, end)
            self.need = end + 4 + int(self.buffer[at + 16 : self.buffer.find(b"\r", at)])
        if len(self.buffer) >= self.need:
            status = int(self.buffer[9:12])
            self.buffer, self.need = b"", -1
            self.waiter.set_result(status)

    def ask(self, raw):
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return self.waiter


async def connect(port):
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


def request(size=500, *, stream=False, tokens=50):
    said = {"model": MODEL, "max_tokens": tokens, "stream": stream, "messages": [{"role": "user", "content": "x" * max(1, size - 120)}]}
    body = json.dumps(said, separators=(",", ":")).encode()
    return b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-bench\r\ncontent-type: application/json\r\nanthropic-version: 2023-06-01\r\n" \
           b"content-length: %d\r\n\r\n%b" % (len(body), body)  # fmt: skip


async def closed_loop(port, raw, seconds, connections=32):
    """Each connection asks again as soon as it is answered; requests per second and statuses."""
    clients = [await connect(port) for _ in range(connections)]
    until = time.monotonic() + seconds
    counts = {}

    async def one(client):
        while time.monotonic() < until:
            status = await client.ask(raw)
            counts[status] = counts.get(status, 0) + 1
            if client.lost:
                return

    began = time.monotonic()
    await asyncio.gather(*[one(c) for c in clients])
    elapsed = time.monotonic() - began
    for client in clients:
        client.transport.close()
    return sum(counts.values()) / elapsed, counts


async def open_loop(port, raw, rate, seconds, *, connections=64):
    """Requests due at fixed times, latency from when each was due; milliseconds, in order."""
    idle = [await connect(port) for _ in range(connections)]
    took = []
    tasks = set()

    async def one(due, client):
        await client.ask(raw)
        took.append((time.monotonic() - due) * 1e3)
        idle.append(client)

    began = time.monotonic()
    for i in range(int(rate * seconds)):
        due = began + i / rate
        pause = due - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        if idle:
            task = asyncio.create_task(one(max(due, time.monotonic() - 0.0005), idle.pop()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for client in idle:
        client.transport.close()
    return sorted(took)


class StreamClient(asyncio.Protocol):
    def __init__(self):
        self.delays, self.first, self.done = [], None, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        now = time.monotonic()
        at = 0
        while (at := data.find(b'"text":"', at)) >= 0:
            at += 8
            sent = float(data[at : data.find(b'"', at)])
            self.delays.append((now - sent) * 1e3)
            self.first = self.first or now
        if b"message_stop" in data and not self.done.done():
            self.done.set_result(True)

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_result(False)


async def streams(port, count, tokens):
    """So many streams at once of 50 tokens a second: delays of tokens, times to the first, tokens received."""
    loop = asyncio.get_running_loop()
    raw = request(stream=True, tokens=tokens)
    clients, begun = [], []
    for _ in range(count):
        _, client = await loop.create_connection(StreamClient, "127.0.0.1", port)
        begun.append(time.monotonic())
        client.transport.write(raw)
        clients.append(client)
        await asyncio.sleep(0.02 / count)
    await asyncio.gather(*[c.done for c in clients])
    for client in clients:
        client.transport.close()
    first = sorted((c.first - b) * 1e3 for c, b in zip(clients, begun, strict=True) if c.first)
    delays = sorted(d for c in clients for d in c.delays)
    return delays, first, len(delays)


def quantile(values, q):
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


class Gateway:
    """The worker as users run it: a process of its own."""

    def __init__(self, folder, upstream_port, core, *, certificate=""):
        target = Target(0, "t", "claude", "https" if certificate else "http", "localhost" if certificate else "127.0.0.1", upstream_port, "",
                        "anthropic", "us", secret=Secret(token="env:BENCH_TOKEN"), ca_file=certificate, max_concurrent=100_000)  # fmt: skip
        other = Target(1, "u", "claude", "http", "127.0.0.1", 9, "", "aws", "us-east-1", secret=Secret(token="env:BENCH_TOKEN"))
        price = TokenPrice(MODEL, "t", 4.0, 20.0, 0.4, 5.0, 8.0)
        variants = tuple(
            Variant(i, f"{MODEL}@{t.id}", MODEL, i, MODEL, "TPU v7", "", "", "production", 1.0, "passed", compile_price(price))
            for i, t in enumerate((target, other))
        )
        key = Key("bench", sha256(b"sk-bench").hexdigest(), team="core", application="bench", budgets=(0, 1), requests_per_minute=10_000_000)
        budgets = (Budget(0, "key:bench", "key:bench", 10**18), Budget(1, "team:core", "team:core", 10**18))
        self.wiring = Wiring("b", "bench", str(folder), "127.0.0.1", 0, 1, (target, other), variants,
                             (Route(MODEL, MODEL, "", "", (0, 1), (1.0, 0.0), "bench"),), (key,), budgets, Reliability())  # fmt: skip
        path = folder / "wiring.bin"
        write_wiring(path, self.wiring)
        os.environ["BENCH_TOKEN"] = "bench-upstream"
        command = [sys.executable, "-m", "polysilicon.gateway.worker", str(path), "0"]
        began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: pin(core))
        self.port = json.loads(self.process.stderr.readline())["port"]
        self.start_s = time.monotonic() - began

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()


def certificate_in(folder):
    """A certificate of our own for localhost, where openssl is installed."""
    if not shutil.which("openssl"):
        return ""
    both = folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
               "subjectAltName=DNS:localhost", "-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]  # fmt: skip
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return ""
    both.write_bytes((folder / "k.pem").read_bytes() + (folder / "c.pem").read_bytes())
    return str(both)


def nginx_in(folder, upstream_port, core):
    """nginx as a plain keep-alive proxy, for the ratio, where it is installed."""
    if not shutil.which("nginx"):
        return None
    (folder / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit; events {{worker_connections 4096;}}\n"
        f"http {{access_log off; client_max_body_size 100m; upstream u {{server 127.0.0.1:{upstream_port}; keepalive 64;}}\n"
        f"server {{listen 127.0.0.1:18099; location / {{proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection '';"
        f" proxy_buffering off;}}}}}}\n"
    )
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    process = subprocess.Popen(command, preexec_fn=lambda: pin(core), stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    return process


def start_mock(core, certificate=""):
    context = multiprocessing.get_context("fork")
    port, ready = context.Value("i", 0), context.Event()
    process = context.Process(target=mock_process, args=(port, ready, core, certificate), daemon=True)
    process.start()
    ready.wait(10)
    return process, port.value


def closed(port, gateway, seconds, raw, name):
    before, began = (gateway.cpu_s() if gateway else 0.0), time.monotonic()
    rps, counts = uvloop.run(closed_loop(port, raw, seconds))
    row = {"case": name, "requests_per_s": round(rps, 1), "ok_frac": round(counts.get(200, 0) / max(1, sum(counts.values())), 6)}
    if gateway:
        used = gateway.cpu_s() - before
        row |= {"cpu_us_per_request": round(used * 1e6 / sum(counts.values()), 1), "cpu_busy_frac": round(used / (time.monotonic() - began), 3),
                "requests_per_core_s": round(sum(counts.values()) / used, 1), "rss_mb": round(gateway.rss_mb(), 1)}  # fmt: skip
    return row


def run(seconds, soak_s):
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None, None]
    ours, theirs = cores[0], cores[-1]
    rows = []
    with tempfile.TemporaryDirectory(prefix="polysilicon-bench-") as name:
        folder = Path(name)
        pin(theirs)
        mock, upstream = start_mock(theirs)
        gateway = Gateway(folder / "plain" if (folder / "plain").mkdir() is None else folder, upstream, ours)
        rows.append({"case": "start to serving", "seconds": round(gateway.start_s, 3), "rss_mb": round(gateway.rss_mb(), 1)})
        raw, big = request(), request(400_000)
        rows.append(closed(upstream, None, seconds, raw, "direct, 0.5 KB"))
        uvloop.run(closed_loop(gateway.port, raw, 0.5))
        rows.append(closed(gateway.port, gateway, seconds, raw, "gateway, 0.5 KB, every feature on"))
        nginx = nginx_in(folder, upstream, ours)
        if nginx:
            rows.append(closed(18099, None, seconds, raw, "nginx, 0.5 KB"))
            nginx.terminate()
            nginx.wait()
        rows.append(closed(gateway.port, gateway, seconds, big, "gateway, 400 KB bodies"))
        rows.append(closed(upstream, None, seconds, big, "direct, 400 KB bodies"))
        for rate in (50, 200):
            direct = uvloop.run(open_loop(upstream, raw, rate, seconds))
            through = uvloop.run(open_loop(gateway.port, raw, rate, seconds))
            rows.append({"case": f"added latency at {rate}/s", **{
                f"p{int(q * 100)}_ms": round(quantile(through, q) - quantile(direct, q), 3) for q in (0.5, 0.99)}})  # fmt: skip
        direct = uvloop.run(streams(upstream, 100, 50))
        before = gateway.cpu_s()
        through = uvloop.run(streams(gateway.port, 100, 50))
        used = gateway.cpu_s() - before
        rows.append({
            "case": "100 streams of 50 tokens a second", "ttft_added_p50_ms": round(quantile(through[1], 0.5) - quantile(direct[1], 0.5), 3),
            "ttft_added_p99_ms": round(quantile(through[1], 0.99) - quantile(direct[1], 0.99), 3),
            "token_relay_p50_ms": round(quantile(through[0], 0.5) - quantile(direct[0], 0.5), 3),
            "token_relay_p99_ms": round(quantile(through[0], 0.99) - quantile(direct[0], 0.99), 3),
            "tokens_frac": through[2] / 5000, "cpu_us_per_token": round(used * 1e6 / 5000, 1),
        })  # fmt: skip
        normal = uvloop.run(open_loop(gateway.port, raw, 100, 1.0))
        uvloop.run(closed_loop(gateway.port, raw, seconds, connections=1000))
        after = uvloop.run(open_loop(gateway.port, raw, 100, 2.0))
        rows.append({"case": "recovery after 1000 connections at once", "p99_before_ms": round(quantile(normal, 0.99), 3),
                     "p99_after_ms": round(quantile(after, 0.99), 3)})  # fmt: skip
        start_rss = gateway.rss_mb()
        uvloop.run(open_loop(gateway.port, raw, 2000, soak_s))
        rows.append({"case": f"soak of {soak_s:g} s at 2000/s", "rss_start_mb": round(start_rss, 2), "rss_end_mb": round(gateway.rss_mb(), 2)})
        gateway.stop()
        mock.terminate()
        certificate = certificate_in(folder)
        if certificate:
            (folder / "tls").mkdir()
            mock, upstream = start_mock(theirs, certificate)
            gateway = Gateway(folder / "tls", upstream, ours, certificate=certificate)
            uvloop.run(closed_loop(gateway.port, raw, 0.5))
            rows.append(closed(gateway.port, gateway, seconds, raw, "gateway, TLS to the upstream"))
            gateway.stop()
            mock.terminate()
    return {"machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
                        "load_1m": round(os.getloadavg()[0], 2)}, "rows": rows}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each case")
    parser.add_argument("--soak", type=float, default=20.0, help="seconds of the soak")
    options = parser.parse_args()
    result = run(options.seconds, options.soak)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        print(f"{row.pop('case'):45}", "  ".join(f"{k} {v}" for k, v in row.items()))
    print(result["machine"])


if __name__ == "__main__":
    main()
