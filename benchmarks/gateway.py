"""The gateway under load, beside other gateways, in one run: `python benchmarks/gateway.py --json`.

One worker with every feature on (keys, rate limit, two budgets, plan weights, session affinity, counterfactual costs, ledger, counters),
pinned to one core, as is each peer in its turn; the target and the load generator, one small C program, share another core. CPU is the
kernel's account of the gateway's processes, so it holds on a busy machine better than requests a second do; `requests_per_core_s` is
what one core would do if it had nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from gateway_peers import BEFORE, HOW, KNOWN, Peer, found
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway.controller import write_wiring
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Budget, Key, Reliability, Route, Secret, Target, Variant, Wiring

HERE = Path(__file__).parent
# what the gateway is built to reach on an otherwise idle machine: (case, figure, limit, at least or at most)
TARGETS = [
    ("Messages, 0.5 KB", "requests_per_core_s", 20_000, ">="), ("Messages over TLS to the target", "requests_per_core_s", 14_000, ">="),
    ("Messages, 0.5 KB", "times_nginx", 0.45, ">="), ("Chat, 0.5 KB", "times_vllm_router", 2.0, ">="), ("Chat, 0.5 KB", "times_smg", 5.0, ">="),
    ("Chat, 0.5 KB", "times_portkey", 25.0, ">="), ("Chat, 0.5 KB", "times_litellm", 150.0, ">="),
    ("added latency at 200/s", "p50_ms", 0.5, "<="), ("added latency at 200/s", "p99_ms", 1.5, "<="),
    ("100 streams of 50 tokens/s", "ttft_added_p50_ms", 0.6, "<="), ("100 streams of 50 tokens/s", "ttft_added_p99_ms", 2.0, "<="),
    ("100 streams of 50 tokens/s", "relay_p99_ms", 2.0, "<="), ("100 streams of 50 tokens/s over TLS", "cpu_us_per_token", 50.0, "<="),
    ("Messages, 400 KB", "requests_per_core_s", 700, ">="), ("Messages, 400 KB", "cpu_us_per_request", 1_400, "<="),
    ("after 5x overload", "seconds_to_recover", 5, "<="), ("start to serving", "seconds", 1.0, "<="), ("soak at 2000/s", "rss_end_mb", 80, "<="),
    ("soak at 2000/s", "rss_mb_per_10_min", 1.0, "<="),
]  # fmt: skip


def pinned(core, command):
    """Return a command on one core; at real-time priority where that was asked for."""
    if core is not None and shutil.which("taskset"):
        command = ["taskset", "-c", str(core), *command]
    return [*BEFORE, *command]


class Generator:
    """The target and the load: the C program where it can be built, else the Python one."""

    def __init__(self, folder, core):
        self.core = core
        self.tls_too = True
        self.slow = False  # its own delays hide the gateway's
        program = folder / "load"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        build = [compiler, "-O2", "-o", str(program), str(HERE / "gateway_load.c")]
        with_tls = [*build, "-DTLS", "-lssl", "-lcrypto"]
        if compiler and subprocess.run(with_tls, capture_output=True, check=False).returncode == 0:
            self.kind, self.command = "C", [str(program)]
        elif compiler and subprocess.run(build, capture_output=True, check=False).returncode == 0:
            self.kind, self.command, self.tls_too = "C; TLS target in Python", [str(program)], False
        else:
            self.kind, self.command, self.slow = "Python (no C compiler)", [sys.executable, str(HERE / "gateway_load.py")], True

    def target(self, certificate=""):
        command = self.command if self.tls_too or not certificate else [sys.executable, str(HERE / "gateway_load.py")]
        command = [*command, "mock", *([certificate] if certificate else [])]
        process = subprocess.Popen(pinned(self.core, command), stdout=subprocess.PIPE, text=True)
        return process, int(process.stdout.readline())

    def load(self, verb, port, file, *rest):
        command = [*self.command, verb, str(port), str(file), *map(str, rest)]
        return json.loads(subprocess.run(pinned(self.core, command), capture_output=True, text=True, check=True).stdout)


def said(size=500, *, model="opus", chat=False, stream=False, tokens=50, extra=b""):
    """One HTTP request."""
    body = {"model": model, "max_tokens": tokens, "stream": stream, "messages": [{"role": "user", "content": "x" * max(1, size - 120)}]}
    data = json.dumps(body, separators=(",", ":")).encode()
    path = b"/v1/chat/completions" if chat else b"/v1/messages"
    key = b"authorization: Bearer sk-bench" if chat else b"x-api-key: sk-bench\r\nanthropic-version: 2023-06-01"
    return b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\n%b\r\ncontent-type: application/json\r\naccept: application/json\r\nuser-agent: bench\r\n%b" \
           b"content-length: %d\r\n\r\n%b" % (path, key, extra, len(data), data)  # fmt: skip


def cpu_s(pids):
    """CPU time of processes, by the scheduler's own account, in seconds."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total / 1e9


def rss_mb(pids):
    return sum(int(Path(f"/proc/{p}/status").read_text().split("VmRSS:")[1].split()[0]) for p in pids) / 1024


def added_ms(through, direct, figure):
    """What the gateway adds to a quantile; None where the direct run was disturbed so much that nothing can be said."""
    return through[figure] - direct[figure] if through[figure] >= direct[figure] else None


class Gateway:
    """One worker as users run it: a process of its own."""

    def __init__(self, folder, upstream, core, certificate=""):
        folder.mkdir()
        scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
        secret = Secret(token="env:BENCH_TOKEN")
        price = compile_price(TokenPrice("opus", "t", 4.0, 20.0, 0.4, 5.0, 8.0))
        targets, variants, routes = [], [], []
        for model, door in (("opus", "claude"), ("gpt", "openai"), ("limits", "claude")):
            first = len(targets)
            for i, cloud in enumerate(("anthropic", "aws")):
                t = Target(first + i, f"{model}-{cloud}", door, scheme, host, upstream, "", cloud, "us-east-1", secret=secret, ca_file=certificate,
                           max_concurrent=100_000)  # fmt: skip
                targets.append(t)
                variants.append(Variant(t.index, f"{model}@{t.id}", model, t.index, model, "TPU v7", "", "", "production", 1.0, "passed", price))
            routes.append(Route(model, model, "", "", (first, first + 1), (0.7, 0.3), "bench"))
        key = Key("bench", sha256(b"sk-bench").hexdigest(), team="core", application="bench", budgets=(0, 1), requests_per_minute=100_000_000)
        budgets = (Budget(0, "key:bench", "key:bench", 10**18), Budget(1, "team:core", "team:core", 10**18))
        wiring = Wiring("b", "bench", str(folder), "127.0.0.1", 0, 1, tuple(targets), tuple(variants), tuple(routes), (key,), budgets, Reliability())
        write_wiring(folder / "wiring.bin", wiring)
        env = {**os.environ, "BENCH_TOKEN": "bench-upstream"}
        began = time.monotonic()
        command = pinned(core, [sys.executable, "-m", "polysilicon.gateway.worker", str(folder / "wiring.bin"), "0"])
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        self.port = json.loads(self.process.stderr.readline())["port"]
        self.start_s = time.monotonic() - began
        self.folder = folder

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.process.stderr.close()


def status_of(port, raw):
    """The status of one request; 0 where nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=15) as s:
            s.sendall(raw)
            return int(s.recv(4096)[9:12] or 0)
    except (OSError, ValueError):
        return 0


def certificate_in(folder):
    """A certificate of our own for localhost, where openssl is installed."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
               "subjectAltName=DNS:localhost", "-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]  # fmt: skip
    if not shutil.which("openssl") or subprocess.run(command, capture_output=True, check=False).returncode:
        return ""
    both = folder / "both.pem"
    both.write_bytes((folder / "k.pem").read_bytes() + (folder / "c.pem").read_bytes())
    return str(both)


class Bench:
    """The cases, one after another."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.rows = []
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.ours, self.theirs = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
        self.generator = Generator(folder, self.theirs)
        self.files = {}
        unique = b"traceparent: 00-%b@@@@@@@@-00f067aa0ba902b7-01\r\n" % (b"0" * 24)
        for name, raw in {
            "messages": said(), "unique": said(extra=unique), "chat": said(model="gpt", chat=True), "big": said(400_000),
            "limits": said(model="limits"), "streams": said(stream=True, tokens=100),
        }.items():  # fmt: skip
            self.files[name] = folder / f"{name}.http"
            self.files[name].write_bytes(raw)

    def add(self, case, **figures):
        row = {"case": case, **{k: (round(v, 4) if isinstance(v, float) else v) for k, v in figures.items()}}
        self.rows.append(row)
        if not self.options.json:
            print(f"{case:40}", "  ".join(f"{k} {v}" for k, v in row.items() if k != "case"), flush=True)
        return row

    def rest(self, seconds=1.1):
        """Let the kernel's quota of real-time work fill up again: it halts whoever has used 95 % of a second."""
        if BEFORE:
            time.sleep(seconds)

    def closed(self, case, server, file, seconds=None, connections=32):
        """A closed loop, after a short one to warm up."""
        self.generator.load("closed", server.port, self.files[file], 0.3, connections)
        self.rest()
        return self.add(case, **self.turn(server, file, seconds or self.options.seconds, connections), rss_mb=rss_mb(server.pids()))

    def turn(self, server, file, seconds, connections):
        """What a closed loop of this length measures."""
        before, began = cpu_s(server.pids()), time.monotonic()
        got = self.generator.load("closed", server.port, self.files[file], seconds, connections)
        used, wall = cpu_s(server.pids()) - before, time.monotonic() - began
        n = max(1, got["requests"])
        return {
            "requests_per_s": got["requests_per_s"], "ok_frac": got["ok"] / n, "cpu_us_per_request": used * 1e6 / n,
            "requests_per_core_s": n / used if used else 0.0, "cpu_busy_frac": used / wall, "latency_p50_ms": got["latency_p50_ms"],
            "latency_p99_ms": got["latency_p99_ms"],
        }  # fmt: skip

    def in_turn(self, name, peer, gateway, files, seconds, turns, connections):
        """Ours and a peer in short turns; return the medians of the pairs' ratios, of requests per CPU second and per second.

        The machine's speed moves by half within minutes: a ratio of two long runs is the minute's, that of two short turns beside
        each other is theirs.
        """
        taken = {gateway: [], peer: []}
        for server in (gateway, peer):  # to warm up
            self.generator.load("closed", server.port, self.files[files[server]], max(2.0, seconds), connections)
        for i in range(turns):
            for server in (gateway, peer)[:: 1 if i % 2 else -1]:
                self.rest(0.4 * min(1.0, seconds))
                taken[server].append(self.turn(server, files[server], seconds, connections))
        for server, case in ((gateway, f"ours, in turn with {name}"), (peer, name)):
            rows = taken[server]
            self.add(case, turns=turns, **{k: statistics.median(r[k] for r in rows) for k in rows[0] if k != "ok_frac"},
                     ok_frac=min(r["ok_frac"] for r in rows), rss_mb=rss_mb(server.pids()))  # fmt: skip
        if min(row["ok_frac"] for row in taken[peer]) <= 0.99:
            return {}
        pairs = list(zip(*taken.values(), strict=True))
        ratios = {k: sorted(ours[k] / theirs[k] for ours, theirs in pairs) for k in ("requests_per_core_s", "requests_per_s")}
        return {
            "": statistics.median(ratios["requests_per_core_s"]), "_least": ratios["requests_per_core_s"][0],
            "_most": ratios["requests_per_core_s"][-1], "_by_rate": statistics.median(ratios["requests_per_s"]),
        }  # fmt: skip

    def added(self, case, server, upstream, rate):
        """Latency above the target's own, from when each request was due."""
        self.rest()
        direct = self.generator.load("open", upstream, self.files["messages"], self.options.seconds, 64, rate)
        through = self.generator.load("open", server.port, self.files["messages"], self.options.seconds, 64, rate)
        self.add(case, **{f"{q}_ms": added_ms(through, direct, f"latency_{q}_ms") for q in ("p50", "p99")},
                 direct_p50_ms=direct["latency_p50_ms"], direct_p99_ms=direct["latency_p99_ms"],
                 through_p50_ms=through["latency_p50_ms"], through_p99_ms=through["latency_p99_ms"])  # fmt: skip

    def streams(self, case, server, upstream):
        """A hundred streams begun over a second."""
        self.rest()
        direct = self.generator.load("streams", upstream, self.files["streams"], 100, 1.0) if upstream else None
        before = cpu_s(server.pids())
        first = self.generator.load("streams", server.port, self.files["streams"], 100, 1.0)
        cold = (cpu_s(server.pids()) - before) * 1e6 / first["tokens"]  # with the connections to the target that had to be made
        before = cpu_s(server.pids())
        got = self.generator.load("streams", server.port, self.files["streams"], 100, 1.0)
        used = cpu_s(server.pids()) - before
        figures = {}
        for q in ("p50", "p99"):
            if direct:
                figures[f"ttft_added_{q}_ms"] = added_ms(got, direct, f"ttft_{q}_ms")
            figures |= {f"ttft_{q}_ms": got[f"ttft_{q}_ms"], f"relay_{q}_ms": got[f"relay_{q}_ms"]}
        self.add(case, **figures, tokens_frac=got["tokens"] / 10_000, whole_frac=got["whole"] / 100, cpu_us_per_token=used * 1e6 / got["tokens"],
                 cpu_us_per_token_at_first=cold, ttft_p50_ms_at_first=first["ttft_p50_ms"])  # fmt: skip

    def overload(self, server, capacity_rps):
        """Five times what it can do, for ten seconds; then how long until the 99th percentile is below twice the usual one."""
        load, file = self.generator.load, self.files["messages"]
        usual_rate = 0.1 * capacity_rps
        usual = load("open", server.port, file, 3, 64, usual_rate)["latency_p99_ms"]
        hard = load("open", server.port, file, 10, 2000, 5 * capacity_rps)
        after = load("open", server.port, file, 6, 64, usual_rate)["p99_ms_by_second"]
        good = [s for s, p99 in enumerate(after) if p99 >= 0 and p99 <= 2 * usual]
        self.add("after 5x overload", usual_p99_ms=usual, offered_per_s=5 * capacity_rps, answered_per_s=hard["requests_per_s"],
                 ok_frac=hard["ok"] / max(1, hard["requests"]), overload_p99_ms=hard["latency_p99_ms"], p99_ms_by_second=after,
                 seconds_to_recover=good[0] + 1 if good else None)  # fmt: skip

    def soak(self, server, seconds):
        """2000 requests a second for as long as is asked; memory by the minute."""
        pids = server.pids()
        self.generator.load("open", server.port, self.files["messages"], min(10, seconds), 64, 2000)  # to warm up
        seen, began = [(0.0, rss_mb(pids))], time.monotonic()
        good = total = 0
        while time.monotonic() - began < seconds:
            got = self.generator.load("open", server.port, self.files["messages"], min(60.0, seconds), 64, 2000)
            good, total = good + got["ok"], total + got["requests"]
            seen.append((time.monotonic() - began, rss_mb(pids)))
        mean_t, mean_m = sum(t for t, _ in seen) / len(seen), sum(m for _, m in seen) / len(seen)
        slope = sum((t - mean_t) * (m - mean_m) for t, m in seen) / sum((t - mean_t) ** 2 for t, _ in seen)
        long = seconds >= 600
        self.add("soak at 2000/s", seconds=seconds, requests=total, ok_frac=good / max(1, total), rss_start_mb=seen[0][1], rss_end_mb=seen[-1][1],
                 **({"rss_mb_per_10_min": slope * 600} if long else {}))  # fmt: skip

    def peers(self, gateway, upstream, ours_messages, ours_chat):
        """Each of the others that is here, in turn with ours."""
        for name in KNOWN:
            program = "" if name in self.options.without else found(name, self.options)
            short = name.split()[0].lower().replace("-", "_")
            if not program:
                self.add(f"{name}: absent", known_requests_per_s=KNOWN[name], get_it=HOW[name])
                continue
            folder = self.folder / short
            folder.mkdir()
            peer = Peer(name, program, folder, upstream, self.ours)
            raw = said() if name == "nginx" else said(model="gpt", chat=True, extra=peer.headers)
            self.files[short] = self.folder / f"{short}.http"
            self.files[short].write_bytes(raw)
            if peer.wait(lambda port, raw=raw: status_of(port, raw)):
                slow = name.startswith(("Portkey", "LiteLLM"))  # tens or hundreds of requests a second: longer turns, less of a queue
                row, file = (ours_messages, "messages") if name == "nginx" else (ours_chat, "chat")
                long = (3.0, 4, 8) if slow else (0.7, max(3, round(4 * self.options.seconds)), 32)
                for words, ratio in self.in_turn(name, peer, gateway, {gateway: file, peer: short}, *long).items():
                    row[f"times_{short}{words}"] = round(ratio, 3)
            else:
                last = (folder / f"{name.split()[0]}.log").read_text(errors="replace").strip().splitlines()[-1:]
                self.add(f"{name}: did not answer", why=" ".join(last)[:200])
            peer.stop()

    def verdicts(self):
        """Each figure beside what it is built to reach."""
        by_case = {row["case"]: row for row in self.rows}
        for case, figure, limit, sense in TARGETS:
            value = by_case.get(case, {}).get(figure)
            if value is not None and figure.endswith("_ms") and self.generator.slow:
                self.add(f"target: {case}, {figure}", value=value, limit=limit, sense=sense, met="not judged: the delay is the generator's")
            elif value is not None:
                met = value >= limit if sense == ">=" else value <= limit
                self.add(f"target: {case}, {figure}", value=value, limit=limit, sense=sense, met=bool(met))

    def run(self):
        options = self.options
        target, upstream = self.generator.target()
        gateway = Gateway(self.folder / "plain", upstream, self.ours)
        self.add("start to serving", seconds=gateway.start_s, rss_mb=rss_mb(gateway.pids()))
        if options.soak_only:
            self.soak(gateway, options.soak)
        else:
            ceiling = self.generator.load("closed", upstream, self.files["messages"], options.seconds, 32)
            self.add("direct to the target, no gateway", generator=self.generator.kind, requests_per_s=ceiling["requests_per_s"])
            messages = self.closed("Messages, 0.5 KB", gateway, "messages")
            self.closed("Messages, a new trace id in each head", gateway, "unique")
            self.closed("Messages, rate limits and ids in each answer's head", gateway, "limits")
            chat = self.closed("Chat, 0.5 KB", gateway, "chat")
            self.closed("Messages, 400 KB", gateway, "big")
            for rate in (50, 200):
                self.added(f"added latency at {rate}/s", gateway, upstream, rate)
            self.streams("100 streams of 50 tokens/s", gateway, upstream)
            self.peers(gateway, upstream, messages, chat)
            if not options.short:
                self.soak(gateway, options.soak)
                self.overload(gateway, messages["requests_per_s"])
            self.add("ledger", bytes_per_line=sum(p.stat().st_size for p in (gateway.folder / "ledger").iterdir())
                     / max(1, sum(p.read_bytes().count(b"\n") for p in (gateway.folder / "ledger").iterdir())))  # fmt: skip
        gateway.stop()
        target.kill()
        certificate = certificate_in(self.folder)
        if certificate and not options.soak_only:
            target, upstream = self.generator.target(certificate)
            gateway = Gateway(self.folder / "tls", upstream, self.ours, certificate)
            self.closed("Messages over TLS to the target", gateway, "messages")
            self.streams("100 streams of 50 tokens/s over TLS", gateway, None)
            gateway.stop()
            target.kill()
        self.verdicts()
        return {
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
                        "generator": self.generator.kind, "load_1m": round(os.getloadavg()[0], 2)},
            "rows": self.rows,
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each case")
    parser.add_argument("--soak", type=float, default=20.0, help="seconds of the soak at 2000 requests/s; 1800 for the half hour")
    parser.add_argument("--soak-only", action="store_true", help="the soak and nothing else")
    parser.add_argument("--short", action="store_true", help="no overload and no soak")
    parser.add_argument("--without", action="append", default=[], choices=list(KNOWN), help="leave a peer out")
    for flag, what in (("vllm-router", "the program"), ("smg", "the program"), ("portkey", "its build/start-server.js"), ("litellm", "the program")):
        parser.add_argument(f"--{flag}", default="", help=f"path of {what}; else from the environment or PATH")
    parser.add_argument("--first", action="store_true", help="everything at real-time priority (chrt; needs root): other load disturbs less")
    options = parser.parse_args()
    if options.first:
        BEFORE.extend(["chrt", "-r", "10"])
    with tempfile.TemporaryDirectory(prefix="polysilicon-bench-") as name:
        result = Bench(options, Path(name)).run()
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(result["machine"])


if __name__ == "__main__":
    main()
