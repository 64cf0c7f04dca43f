"""Is a variant fit to be asked: circuit breakers, outlier ejection, moving averages. One worker's own view, in plain lists."""

from __future__ import annotations

from collections.abc import Sequence

from polysilicon.gateway.wiring import Reliability

_SMOOTH = 0.1  # weight of the newest sample in a moving average
CLOSED, OPEN, HALF = "closed", "open", "half-open"


class Health:
    """Breakers and averages of all variants.

    A breaker opens after so many failures in a row, or for the time a refusal states; after that one request at a time is let
    through until one succeeds. An open breaker costs one request at most, whatever the traffic.
    """

    def __init__(self, variants: int, settings: Reliability) -> None:
        self.settings = settings
        self.open_until_s = [0.0] * variants
        self.failures = [0] * variants
        self.since_s = [0.0] * variants  # when it opened, if it is open
        self.probing = [0] * variants
        self.reason = [""] * variants
        self.ttft_s = [0.0] * variants
        self.requests = [0.0] * variants  # decayed by `decay`
        self.errors = [0.0] * variants
        self.opened = [0] * variants  # how often, in a row: each time twice as long, up to eight times
        self.shut = 0  # breakers that are not closed; 0 is the usual case, in which nobody need be asked

    def admits(self, i: int, now_s: float) -> bool:
        """Return whether a variant may be asked now."""
        until_s = self.open_until_s[i]
        return until_s == 0.0 or (now_s >= until_s and not self.probing[i])

    def state(self, i: int, now_s: float) -> str:
        """Return closed, open or half-open."""
        if self.open_until_s[i] == 0.0:
            return CLOSED
        return OPEN if now_s < self.open_until_s[i] else HALF

    def asked(self, i: int) -> None:
        """Note that a variant is asked."""
        if self.open_until_s[i]:
            self.probing[i] += 1

    def left(self, i: int) -> None:
        """Note that an attempt is over without a verdict, as when the client goes away."""
        self.probing[i] = 0

    def good(self, i: int, ttft_s: float) -> None:
        """Note an answer."""
        self.requests[i] += 1.0
        self.failures[i] = 0
        self.ttft_s[i] = ttft_s if self.ttft_s[i] == 0.0 else self.ttft_s[i] + _SMOOTH * (ttft_s - self.ttft_s[i])
        if self.open_until_s[i]:
            self.open_until_s[i] = 0.0
            self.shut -= 1
            self.probing[i] = 0
            self.opened[i] = 0
            self.reason[i] = ""

    def bad(self, i: int, now_s: float, reason: str, *, shut_s: float = 0.0) -> None:
        """Note a failure; `shut_s` opens the breaker at once for that long."""
        self.requests[i] += 1.0
        self.errors[i] += 1.0
        self.failures[i] += 1
        half_open = self.open_until_s[i] != 0.0
        self.probing[i] = 0
        if shut_s:
            self._open(i, now_s, now_s + shut_s, reason)
        elif half_open or self.failures[i] >= self.settings.breaker_failures:
            self.opened[i] = min(self.opened[i] + 1, 4)
            self._open(i, now_s, now_s + self.settings.breaker_open_s * 2 ** (self.opened[i] - 1), reason)

    def _open(self, i: int, now_s: float, until_s: float, reason: str) -> None:
        if self.open_until_s[i] == 0.0:
            self.shut += 1
            self.since_s[i] = now_s
        self.open_until_s[i] = max(self.open_until_s[i], until_s)
        self.reason[i] = reason

    def decay(self, factor: float) -> None:
        """Let old requests count less; called once a second."""
        self.requests = [x * factor for x in self.requests]
        self.errors = [x * factor for x in self.errors]

    def eject(self, variants: Sequence[int], now_s: float) -> list[int]:
        """Open the breakers of outliers among the variants of one route: too many errors, or far slower than the best.

        At least half of the variants stay.
        """
        asked = [i for i in variants if self.requests[i] >= self.settings.eject_min_requests and self.open_until_s[i] == 0.0]
        if len(asked) < 2:
            return []
        best_s = min((self.ttft_s[i] for i in asked if self.ttft_s[i] > 0.0), default=0.0)
        out: list[int] = []
        for i in sorted(asked, key=lambda i: -self.errors[i] / self.requests[i]):
            error_frac = self.errors[i] / self.requests[i]
            slow = best_s > 0.0 and self.ttft_s[i] > self.settings.eject_slow_factor * best_s and self.ttft_s[i] - best_s > 0.25
            if (error_frac >= self.settings.eject_error_frac or slow) and 2 * (len(out) + 1) <= len(asked):
                words = f"{error_frac:.0%} errors" if not slow else f"first token after {self.ttft_s[i]:.2f} s, best {best_s:.2f} s"
                self._open(i, now_s, now_s + self.settings.breaker_open_s, f"outlier: {words}")
                self.ttft_s[i] = 0.0
                self.errors[i] = self.requests[i] = 0.0
                out.append(i)
        return out
