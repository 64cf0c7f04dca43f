"""Shadow traffic: a copy of an answered request to a variant on trial; the client never sees the answer, the ledger does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.doors import Ask, Refusal
from polysilicon.gateway.exchange import Exchange
from polysilicon.gateway.samples import Sample


class Shadow:
    """One copied request, compared with the answer the client got; `keep` takes the comparison, `leave` the end."""

    def __init__(
        self, exchange: Exchange, variant: int, reference: Attempt, *, keep: Callable[[Sample], None], leave: Callable[[Shadow], None]
    ) -> None:
        self._keep = keep
        self._end = leave
        self.exchange = exchange
        self.live = exchange.live
        self.reference = reference
        self.variant = self.live.wiring.variants[variant]
        self.attempt: Attempt | None = None

    def start(self, now_s: float) -> bool:
        """Send the copy, whole rather than streamed; return whether its door can say it."""
        door = self.live.doors[self.variant.target]
        ask = self.exchange.ask_for(door.dialect)
        if ask is None or not door.supports(self.exchange.operation):
            return False
        envelope = {name: value for name, value in ask.envelope.items() if name not in ("stream", "stream_options")}
        copy = Ask(ask.operation, False, envelope, ask.version, ask.beta)
        pool = self.live.pools[self.variant.target]
        self.attempt = Attempt(self, self.variant, door, pool, self.live.wiring.reliability)
        self.live.router.load[self.variant.target] += 1.0
        self.attempt.start(copy, door.dialect, now_s)
        return True

    def forgive(self, late_s: float) -> None:
        """Put the deadline off by the time that nobody could read."""
        if self.attempt is not None:
            self.attempt.deadline_s += late_s

    def tick(self, now_s: float) -> None:
        """Check the deadline."""
        if self.attempt is not None and now_s > self.attempt.deadline_s:
            self.attempt.expire()

    def attempt_content(self, attempt: Attempt, data: bytes) -> None:
        """Take no content: a shadow is asked for its answer whole."""

    def attempt_done(self, attempt: Attempt, body: bytes) -> None:
        """Compare and book."""
        stop, tools = ending(body, attempt.door.dialect)
        reference = self.reference
        good = bool(stop) and stop == (reference.stop or stop) and tools == (reference.tools or tools)
        self._sample(attempt, good=good, error=False)
        self._leave(attempt, "ok", 200)

    def attempt_failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Count the failure."""
        self._sample(attempt, good=False, error=refusal.kind != "request")
        self._leave(attempt, "error", refusal.status)

    def _leave(self, attempt: Attempt, outcome: str, status: int) -> None:
        self.live.router.load[self.variant.target] -= 1.0
        self.exchange.book_shadow(attempt, outcome, status)
        self._end(self)

    def _sample(self, attempt: Attempt, *, good: bool, error: bool) -> None:
        reference = self.reference
        took_s = theirs_s = 0.0
        if not reference.stream and not error and reference.content_s:  # both were asked for whole, so their times compare
            took_s, theirs_s = time.monotonic() - attempt.began_s, reference.content_s - reference.began_s
        tokens = attempt.used.output_tokens, float(reference.used.output_tokens)
        self._keep(Sample(self.variant.id, good, True, *tokens, error, took_s, theirs_s))


def ending(body: bytes, dialect: str) -> tuple[str, tuple[str, ...]]:
    """Return how a whole answer ended, in the Messages API's words, and the tools it called.

    >>> ending(b'{"stop_reason":"tool_use","content":[{"type":"tool_use","name":"f"}]}', "messages")
    ('tool_use', ('f',))
    """
    try:
        answer: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        if dialect == "chat":
            choice = answer["choices"][0]
            stop = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}.get(choice.get("finish_reason"), "other")
            return stop, tuple(c["function"]["name"] for c in choice["message"].get("tool_calls") or ())
        return answer.get("stop_reason") or "", tuple(b["name"] for b in answer.get("content", ()) if b.get("type") == "tool_use")
    except (msgspec.MsgspecError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return "", ()
