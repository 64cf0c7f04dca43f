"""One OpenAI-compatible endpoint as a stopwatch sees it: a request goes out, tokens come in, their times are kept.

The connections and the event borders are the gateway's; here stands what an endpoint may not do: stay silent, stream without
end, count tokens that were not asked for. Each is an UpstreamError that says what was seen.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from polysilicon.errors import UpstreamError, UsageError
from polysilicon.gateway.sse import Events, each
from polysilicon.gateway.upstream import Connection, Pool

CONNECT_S = 10.0
SILENCE_S = 60.0  # longer without a byte is a hung endpoint
_TRIES = 4
MAX_BYTES = 64 * 1024 * 1024  # of one answer
MAX_EVENTS_PER_TOKEN = 4  # role, usage and empty events beside the tokens
MOST_TOKENS_PER_WORD = 16  # of a prompt, as an endpoint may count it


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: prompt and output tokens as the endpoint counts them, and when they came."""

    isl_tokens: float
    osl_tokens: float
    ttft_s: float
    tpot_s: float  # (last token - first token) / (output tokens - 1)


class _Answer:
    """What comes back from one request, each piece with the time it came at; an empty piece ends it."""

    def __init__(self) -> None:
        self.status = 0
        self.error = ""
        self.begun = asyncio.Event()
        self.pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Note the status."""
        self.status = status
        self.begun.set()

    def upstream_data(self, data: bytes) -> None:
        """Keep a piece with its time."""
        self.pieces.put_nowait((time.monotonic(), data))

    def upstream_end(self) -> None:
        """End the pieces."""
        self.pieces.put_nowait((time.monotonic(), b""))

    def upstream_lost(self, error: UpstreamError) -> None:
        """End the pieces with a reason."""
        self.error = error.message
        self.begun.set()
        self.upstream_end()


class Endpoint:
    """Asks one endpoint; use inside one event loop, `close` after."""

    def __init__(self, url: str, *, key: str = "") -> None:
        parts = urlsplit(url)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise UsageError(f"{url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url} is no http or https address", hint="http://127.0.0.1:8000/v1")
        if any(c in key for c in "\r\n") or any(ord(c) < 33 for c in url):
            raise UsageError("the address or the key holds a blank or a line break")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.url = url
        self.pool = Pool(parts.hostname, port, tls=tls, connect_timeout_s=CONNECT_S)
        self.base = parts.path.rstrip("/") or "/v1"
        self.host = parts.netloc.rsplit("@", 1)[-1]
        self.key = key
        self.chat = False  # some serve chat completions alone

    def close(self) -> None:
        """Let all connections go."""
        self.pool.close()

    async def model(self) -> str:
        """Return the first model the endpoint lists."""
        answer, connection = await self._send("GET", "/models", None)
        text = b"".join([piece async for _, piece in self._body(answer, connection)])
        try:
            name = json.loads(text)["data"][0]["id"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise UpstreamError("does not list its models as OpenAI endpoints do", where=self.url) from error
        if not isinstance(name, str) or not 0 < len(name) < 1000:
            raise UpstreamError("names its model with what is no name", where=self.url)
        return name

    async def ask(self, model: str, prompt: str, tokens: int) -> Sample:
        """Send one request, time its tokens; again where they were all read at one instant, as a busy machine of ours may have slept meanwhile.

        Raises: UpstreamError where the endpoint refuses, stays silent, does not stream, or contradicts itself.
        """
        for _ in range(_TRIES):
            sample = await self._ask(model, prompt, tokens)
            if sample.tpot_s > 0.0:
                return sample
        raise UpstreamError(f"sent all pieces of an answer at one instant, {_TRIES} times: it does not stream", where=self.url)

    async def _ask(self, model: str, prompt: str, tokens: int) -> Sample:
        text: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        body = {
            "model": model, **text, "max_tokens": tokens, "temperature": 1.0, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        began = time.monotonic()
        try:
            answer, connection = await self._send("POST", "/chat/completions" if self.chat else "/completions", body)
        except UpstreamError as error:
            if self.chat or " 404 " not in error.message:
                raise
            self.chat = True
            return await self._ask(model, prompt, tokens)
        watch = _Watch(self.url, len(prompt.split()), tokens)
        events = Events()
        async for at, piece in self._body(answer, connection):
            for _, data in each(events.feed(piece)):
                watch.event(at, data)
        return watch.sample(began)

    async def _send(self, method: str, path: str, body: object) -> tuple[_Answer, Connection]:
        """Return an answer whose head has come with status 200.

        A warm connection may have been closed by the other side meanwhile: then a new one is made, once.
        """
        while True:
            connection = self.pool.idle() or await self._connect()
            fresh, answer = connection.fresh, _Answer()
            connection.send(answer, self._request(method, path, body))
            try:
                async with asyncio.timeout(SILENCE_S):
                    await answer.begun.wait()
            except (TimeoutError, asyncio.CancelledError) as error:
                connection.drop()
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise UpstreamError(f"said nothing for {SILENCE_S:g} s after {method} {path}", where=self.url) from error
            if answer.status or fresh:
                break
        if answer.status != 200:
            raise await self._refusal(answer, connection, f"{method} {self.base}{path}")
        return answer, connection

    async def _refusal(self, answer: _Answer, connection: Connection, what: str) -> UpstreamError:
        """Return the error that an answer without success means, with the first of its words."""
        if answer.error:
            return UpstreamError(answer.error, where=self.url)
        try:
            async with asyncio.timeout(1.0):
                _, piece = await answer.pieces.get()
        except TimeoutError:
            piece = b""
        connection.drop()
        hint = "name the variable that holds its key with --key-env" if answer.status in (401, 403) else ""
        words = piece[:200].decode("utf-8", "replace").strip()
        return UpstreamError(f"answered {answer.status} to {what}: {words}", where=self.url, hint=hint)

    def _request(self, method: str, path: str, body: object) -> bytes:
        content = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} {self.base}{path} HTTP/1.1", f"Host: {self.host}", "Accept: text/event-stream, application/json"]
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        if self.key:
            head.append(f"Authorization: Bearer {self.key}")
        return ("\r\n".join(head) + "\r\n\r\n").encode() + content

    async def _connect(self) -> Connection:
        made: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        def done(connection: Connection | None, error: UpstreamError | None) -> None:
            if made.done():
                return
            if connection is None:
                made.set_exception(UpstreamError(error.message if error else "cannot be reached", where=self.url))
            else:
                made.set_result(connection)

        self.pool.connect(done)
        return await made

    async def _body(self, answer: _Answer, connection: Connection) -> Any:
        """Yield the pieces of a body with their times, within bounds."""
        size, whole = 0, False
        try:
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        at, piece = await answer.pieces.get()
                except TimeoutError as error:
                    raise UpstreamError(f"went silent for {SILENCE_S:g} s in the middle of an answer", where=self.url) from error
                if not piece:
                    whole = True
                    if answer.error:
                        raise UpstreamError(answer.error, where=self.url)
                    return
                size += len(piece)
                if size > MAX_BYTES:
                    raise UpstreamError(f"sent more than {MAX_BYTES:,} bytes in one answer", where=self.url)
                yield at, piece
        finally:
            if not whole:
                connection.drop()


class _Watch:
    """The events of one streamed answer: what came when, and what the endpoint says of it."""

    def __init__(self, url: str, words: int, tokens: int) -> None:
        self.url, self.words, self.asked = url, words, tokens
        self.events = self.chunks = 0
        self.first = self.last = 0.0
        self.isl, self.osl = float(words), 0.0

    def event(self, at: float, data: bytes) -> None:
        """Take one event."""
        self.events += 1
        if self.events > MAX_EVENTS_PER_TOKEN * self.asked + 64:
            raise UpstreamError(f"streams on after {self.events:,} events; {self.asked} tokens were asked for", where=self.url)
        if data.strip() == b"[DONE]":
            return
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UpstreamError(f"sent an event that is no JSON: {data[:80]!r}", where=self.url) from error
        if not isinstance(found, dict):
            raise UpstreamError(f"sent an event that is no object: {data[:80]!r}", where=self.url)
        if found.get("error"):
            raise UpstreamError(f"broke off: {str(found['error'])[:200]}", where=self.url)
        usage = found.get("usage")
        if isinstance(usage, dict):
            self.isl = self._count(usage.get("prompt_tokens"), MOST_TOKENS_PER_WORD * self.words + 256, "prompt") or self.isl
            self.osl = self._count(usage.get("completion_tokens"), self.asked + 8, "output") or self.osl
        if _text(found.get("choices")):
            self.last = at
            self.first = self.first or at
            self.chunks += 1

    def _count(self, value: Any, most: int, what: str) -> float:
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= most:
            raise UpstreamError(f"counts {str(value)[:40]} {what} tokens where at most {most:,} can be", where=self.url)
        return float(value)

    def sample(self, began: float) -> Sample:
        """Return the times of the answer."""
        osl = self.osl or float(self.chunks)
        if self.chunks < 2 or osl < 2:
            raise UpstreamError(f"streamed {osl:g} tokens in {self.chunks} pieces; at least 2 of each are needed to time", where=self.url)
        if self.chunks > 2 * osl:
            raise UpstreamError(f"counts {osl:g} output tokens and streamed {self.chunks} pieces of text", where=self.url)
        return Sample(self.isl, osl, self.first - began, (self.last - self.first) / (osl - 1.0))


def _text(choices: Any) -> bool:
    """Return whether an event carries text, of a completion or of a chat."""
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    pieces = delta if isinstance(delta, dict) else {}
    return bool(choice.get("text") or pieces.get("content") or pieces.get("reasoning_content"))
