"""Hysteresis: weights move only when the move is worth it, not too often, not too fast; what is out of service is left at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from polysilicon.gateway.config import BrokerPart


@dataclass(slots=True)
class Steer:
    """The weights of one route over time."""

    settings: BrokerPart
    weights: list[float]
    goal: list[float] = field(default_factory=list)
    moved_s: float = float("-inf")  # when a move for price was last decided
    at_s: float = float("-inf")  # of the last step of a move
    switches: int = 0
    reason: str = "plan"

    def __post_init__(self) -> None:
        if not self.goal:
            self.goal = list(self.weights)

    def step(
        self,
        now_s: float,
        wanted: Sequence[float],
        price: Sequence[float],
        usable: Sequence[float],
        *,
        urgent: str = "",
        planned: Sequence[tuple[float, float]] = (),
        stay: Callable[[Sequence[float]], float] | None = None,
    ) -> list[float]:
        """Return the weights for this tick.

        `wanted` are the dispatch's shares, `price` what each lane costs now (its commitment's worth taken off), `usable` the share
        each lane may carry at most (0: out of service). `urgent` names a reason to take the wanted shares at once. `planned`
        are the least and the most of each lane while the plan holds: a goal outside goes back, whatever it gains. `stay` says what
        staying with a goal costs over the terms of commitments, as a share: prices of the moment do not tell that.
        """
        settled = self._gap() <= 1e-9
        self._flee(usable, wanted)
        if urgent and list(wanted) != self.goal:
            self.goal = list(wanted)
            self.weights = list(wanted)
            self.reason = urgent
            self.switches += 1
            return self.weights
        off = any(not low - 1e-6 <= g <= high + 1e-6 for g, (low, high) in zip(self.goal, planned, strict=False))
        if off and now_s - self.moved_s >= self.settings.dwell_large_gain_s:
            self._take(now_s, wanted, "the plan's shares again")
        else:
            self._decide(now_s, wanted, price, stay)
        if settled:  # a move that begins now begins with one tick's worth; a tick without a move leaves no trace, so the log need not hold it
            self.at_s = now_s - self.settings.tick_s if self._gap() > 1e-9 else self.at_s
        self._ramp(now_s)
        return self.weights

    def _gap(self) -> float:
        return sum(abs(g - w) for g, w in zip(self.goal, self.weights, strict=True)) / 2.0

    def _flee(self, usable: Sequence[float], wanted: Sequence[float]) -> None:
        """Take weight off what may not carry it; it goes where the dispatch wants it, or in proportion to what is left."""
        lost = sum(max(0.0, w - u) for w, u in zip(self.weights, usable, strict=True))
        if lost <= 1e-9:
            return
        left = [min(w, u) for w, u in zip(self.weights, usable, strict=True)]
        room = [max(0.0, s - w) for s, w in zip(wanted, left, strict=True)]
        if sum(room) <= 1e-12:
            room = [w if u > w else 0.0 for w, u in zip(left, usable, strict=True)]
        if sum(room) <= 1e-12:
            room = [max(0.0, u - w) for w, u in zip(left, usable, strict=True)]
        total = sum(room)
        if total > 1e-12:
            left = [min(u, w + lost * x / total) for w, x, u in zip(left, room, usable, strict=True)]
        self.weights = left
        self.goal = list(wanted)
        self.reason = "availability"
        self.switches += 1

    def _decide(self, now_s: float, wanted: Sequence[float], price: Sequence[float], stay: Callable[[Sequence[float]], float] | None) -> None:
        """Take a new goal where it is worth the switch and long enough after the last."""
        moved = sum(abs(a - b) for a, b in zip(wanted, self.goal, strict=True)) / 2.0
        if moved < 0.005:
            return
        have = sum(w * p for w, p in zip(self.goal, price, strict=True))
        would = sum(w * p for w, p in zip(wanted, price, strict=True)) + moved * self.settings.switch_usd_per_mtok
        if have <= 0.0:
            return
        gain = (have - would) / (have * moved)  # of what is moved: half the traffic moving to a tenth less gains a tenth
        settings = self.settings
        dwell_s = settings.dwell_large_gain_s if gain >= settings.large_gain_frac else settings.dwell_s
        if now_s - self.moved_s < dwell_s:
            return
        left_usd = sum(max(0.0, g - w) * p for g, w, p in zip(self.goal, wanted, price, strict=True))
        words = f"price: what moves is {1.0 - (left_usd - have + would) / left_usd:.1%} cheaper" if left_usd > 0.0 else "price"
        if stay is not None:
            words = words if gain >= settings.gain_min_frac else "commitment: cheaper over its term"
            gain = stay(self.goal) / moved - settings.switch_usd_per_mtok / have
        if gain >= settings.gain_min_frac:
            self._take(now_s, wanted, words)

    def _take(self, now_s: float, goal: Sequence[float], reason: str) -> None:
        self.goal = list(goal)
        self.moved_s = now_s
        self.switches += 1
        self.reason = reason

    def _ramp(self, now_s: float) -> None:
        """Go towards the goal, at most so many points a minute."""
        gap = self._gap()
        if gap <= 1e-9:
            self.weights = list(self.goal)
            return
        elapsed_s = min(60.0, now_s - self.at_s)
        self.at_s = now_s
        step = min(1.0, self.settings.ramp_per_minute_frac * elapsed_s / 60.0 / gap)
        self.weights = [w + step * (g - w) for g, w in zip(self.goal, self.weights, strict=True)]
