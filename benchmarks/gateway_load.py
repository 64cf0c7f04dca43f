"""What gateway_load.c does, for machines without a C compiler: the same commands, the same answers, a tenth of its ceiling.

Its own delays are milliseconds, so a gateway's CPU can be told with it, but no latency.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

try:
    from uvloop import run
except ImportError:
    run = asyncio.run

WORDS = "word " * 28
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "opus",
           "content": [{"type": "text", "text": WORDS}], "stop_reason": "end_turn", "stop_sequence": None,
           "usage": {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 30}}  # fmt: skip
CHAT = {"id": "c1", "object": "chat.completion", "created": 1, "model": "opus",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 150, "completion_tokens": 30, "total_tokens": 180, "prompt_tokens_details": {"cached_tokens": 50}}}  # fmt: skip
MODELS = {"object": "list", "data": [{"id": "gpt", "object": "model", "owned_by": "vllm", "root": "gpt", "created": 1, "max_model_len": 4096}]}
START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"opus","content":[],' \
        b'"stop_reason":null,"usage":{"input_tokens":100,"output_tokens":1}}}\n\n'  # fmt: skip
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%.6f"}}\n\n'
END = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}\n\n' \
      b'event: message_stop\ndata: {"type":"message_stop"}\n\n'  # fmt: skip
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"opus","choices":[%b]%b}\n\n'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: r1\r\ntransfer-encoding: chunked\r\n\r\n"


def whole(answer):
    body = json.dumps(answer, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: r1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


WHOLE = {b"chat": whole(CHAT), b"messages": whole(MESSAGE), b"get": whole(MODELS)}


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Reader(asyncio.Protocol):
    """Calls `whole(message)` for each message of stated length."""

    need, have = -1, b""

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
                at = head.find(b"\ncontent-length:")
                self.need = end + 4 + (int(head[at + 16 :].split(b"\r", 1)[0]) if at >= 0 else 0)
            if len(self.have) < self.need:
                return
            message, self.have, self.need = self.have[: self.need], self.have[self.need :], -1
            self.whole(message)


LIMITS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: keep-alive\r\nanthropic-ratelimit-tokens-remaining: %d\r\n"
    b"anthropic-ratelimit-tokens-reset: 2026-11-26T12:00:00Z\r\nrequest-id: req_%d\r\ncontent-length: %d\r\n\r\n%b"
)


class Target(Reader):
    asked = 0

    def whole(self, message):
        chat = message.startswith(b"POST /v1/chat")
        if message.startswith(b"GET "):
            self.transport.write(WHOLE[b"get"])
        elif b'"stream":true' in message:
            tokens = int(message.split(b'"max_tokens":', 1)[1].split(b",", 1)[0])
            asyncio.get_running_loop().create_task(self.stream(tokens, chat))
        elif b'"model":"limits"' in message:  # as providers do: something new in each head
            Target.asked += 1
            body = WHOLE[b"messages"].split(b"\r\n\r\n", 1)[1]
            self.transport.write(LIMITS % (400_000_000 - Target.asked, Target.asked, len(body), body))
        else:
            self.transport.write(WHOLE[b"chat" if chat else b"messages"])

    async def stream(self, tokens, chat):
        self.transport.write(STREAM_HEAD)
        for i in range(tokens):
            if i:
                await asyncio.sleep(0.02)
            if chat:
                delta = b'{"index":0,"delta":{"content":"%.6f"},"finish_reason":null}' % time.monotonic()
                self.transport.write(chunk(CHUNK % (delta, b"")))
            else:
                self.transport.write(chunk((b"" if i else START) + DELTA % time.monotonic()))
        usage = b',"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}'
        last = CHUNK % (b'{"index":0,"delta":{},"finish_reason":"stop"}', b"") + CHUNK % (b"", usage) + b"data: [DONE]\n\n" if chat else END
        self.transport.write(chunk(last) + b"0\r\n\r\n")


async def mock(certificate):
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, ssl=tls, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


class Asker(Reader):
    waiter = None
    lost = False

    def connection_lost(self, exc):
        self.lost = True
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(0)

    def whole(self, message):
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(int(message[9:12]))

    def ask(self, raw):
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return self.waiter


def quantiles(name, values):
    values = sorted(values)
    at = (lambda q: round(values[min(len(values) - 1, int(q * len(values)))] * 1e3, 4)) if values else lambda _: 0.0
    return {f"{name}_p50_ms": at(0.5), f"{name}_p99_ms": at(0.99)}


async def load(port, raw, seconds, wanted, rate):
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(Asker, "127.0.0.1", port))[1] for _ in range(wanted)]
    idle, took, counts = list(clients), [], {"ok": 0, "no_connection_free": 0, "requests": 0}
    number = 0
    began = time.monotonic()
    until = began + seconds

    async def one(client, due):
        nonlocal number
        number += 1
        status = await client.ask(raw.replace(b"@@@@@@@@", b"%08x" % number, 1))
        took.append((time.monotonic(), time.monotonic() - due))
        counts["requests"] += 1
        counts["ok"] += status == 200
        return client.lost

    async def again(client):
        while time.monotonic() < until and not await one(client, time.monotonic()):
            pass

    async def once(client, due):
        await one(client, due)
        idle.append(client)

    if not rate:
        await asyncio.gather(*[again(c) for c in clients])
    else:
        tasks = set()
        for i in range(int(rate * seconds)):
            due = began + i / rate
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            if not idle:
                counts["no_connection_free"] += 1
                continue
            task = asyncio.create_task(once(idle.pop(), max(due, time.monotonic() - 0.0005)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    elapsed = time.monotonic() - began
    for client in clients:
        client.transport.close()
    by_second = [quantiles("x", [d for at, d in took if s <= at - began < s + 1])["x_p99_ms"] for s in range(min(63, int(elapsed) + 1))]
    return {**counts, "lost": sum(c.lost for c in clients), "seconds": elapsed, "p99_ms_by_second": by_second,
            **quantiles("latency", [d for _, d in took]), "requests_per_s": round(counts["requests"] / elapsed, 1)}  # fmt: skip


class Listener(asyncio.Protocol):
    def __init__(self, mark):
        self.mark, self.delays, self.first, self.done = mark, [], 0.0, asyncio.get_running_loop().create_future()

    def data_received(self, data):
        now, at = time.monotonic(), 0
        while (at := data.find(self.mark, at)) >= 0:
            at += len(self.mark)
            if data[at : at + 1].isdigit():
                self.delays.append(now - float(data[at : data.find(b'"', at)]))
                self.first = self.first or now
        if (b"message_stop" in data or b"[DONE]" in data) and not self.done.done():
            self.done.set_result(True)

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_result(False)


async def streams(port, raw, wanted, spread):
    loop = asyncio.get_running_loop()
    mark = b'"content":"' if b"/chat/" in raw else b'"text":"'
    began, made = time.monotonic(), []
    for i in range(wanted):
        due = began + spread * i / wanted
        if due > time.monotonic():
            await asyncio.sleep(due - time.monotonic())
        at = time.monotonic()
        transport, listener = await loop.create_connection(lambda: Listener(mark), "127.0.0.1", port)
        transport.write(raw)
        made.append((at, transport, listener))
    ended = await asyncio.gather(*[listener.done for _, _, listener in made])
    for _, transport, _ in made:
        transport.close()
    delays = [d for _, _, listener in made for d in listener.delays]
    return {"streams": wanted, "whole": sum(ended), "tokens": len(delays), **quantiles("ttft", [x.first - at for at, _, x in made if x.first]),
            **quantiles("relay", delays), "seconds": time.monotonic() - began}  # fmt: skip


def main():
    verb, *rest = sys.argv[1:]
    if verb == "mock":
        run(mock(rest[0] if rest else ""))
    port, raw = int(rest[0]), Path(rest[1]).read_bytes()
    if verb == "streams":
        print(json.dumps(run(streams(port, raw, int(rest[2]), float(rest[3])))))
    else:
        print(json.dumps(run(load(port, raw, float(rest[2]), int(rest[3]), float(rest[4]) if verb == "open" else 0.0))))


if __name__ == "__main__":
    main()
