"""What prices and demand have been: averages that noise does not move, and the kinds of hours a commitment's rest will be made of.

A dollar may be drawn on a commitment today or on a cheaper day to come. What days will come is not known; what days have come is: each
past hour is put to the hours like it (all prices within a per cent), and the rest of a term is taken to be made of such hours in the
proportions seen so far, older ones counting less. At most so many kinds are kept; the two most alike become one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path

import msgspec

from polysilicon.gateway.config import BrokerPart
from polysilicon.gateway.wiring import Wiring

_HOUR_S = 3600.0
_FADE_S = 60.0 * 86400.0  # an hour so long ago counts 1/e
_ALIKE = 0.01  # prices within a per cent are the same
_KINDS_MOST = 24
_GAP_S = 2.0 * _HOUR_S  # time not looked at tells nothing

Prices = dict[str, tuple[float, float]]  # variant -> dollars per million tokens in and out


class Hours(msgspec.Struct):
    """Hours of one kind: how many, as a share of all; demand per route; prices where they are not the known ones."""

    frac: float
    demand_mtok_per_s: list[float]
    quotes: Prices = {}


class _Kept(msgspec.Struct):
    kinds: list[Hours]
    routes: list[str]


class Memory:
    """Averages and kinds of hours; fed once a tick."""

    def __init__(self, wiring: Wiring, settings: BrokerPart) -> None:
        self._routes = [r.id for r in wiring.routes]
        self._known = {v.id: (max(0, v.tariff.rates[0]) / 1e6, max(0, v.tariff.rates[4]) / 1e6) for v in wiring.variants}
        self._settings = settings
        self.settled: Prices = {}
        self.kinds: list[Hours] = []  # frac is a weight here
        self._trust: dict[str, float] = {}
        self._at_s: float | None = None
        self._hour: list[float] = [0.0] * (1 + 2 * len(self._known) + len(self._routes))  # seconds, sums of price x s, of demand x s

    def note(self, now_s: float, quotes: Mapping[str, tuple[float, float]], demand_mtok_per_s: Sequence[float]) -> bool:
        """Take what is seen now; return whether an hour was completed."""
        elapsed_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._at_s = now_s
        if elapsed_s < 0.0 or elapsed_s > _GAP_S:
            elapsed_s = 0.0
        self._settle(quotes, elapsed_s)
        row = [x for name, known in self._known.items() for x in self.settled.get(name, known)]
        for i, x in enumerate([1.0, *row, *demand_mtok_per_s]):
            self._hour[i] += x * elapsed_s
        if self._hour[0] < _HOUR_S * 0.999:
            return False
        mean = [x / self._hour[0] for x in self._hour]
        self._hour = [0.0] * len(self._hour)
        pairs = zip(self._known, mean[1::2], mean[2::2], strict=False)
        self._file({name: (a, b) for name, a, b in pairs if (a, b) != self._known[name]}, mean[1 + 2 * len(self._known) :])
        return True

    def _settle(self, quotes: Mapping[str, tuple[float, float]], elapsed_s: float) -> None:
        """Move the averages. A new one counts all it has seen alike; a quote further off than noise is a new price and begins a new one."""
        for name in [n for n in self.settled if n not in quotes]:
            del self.settled[name], self._trust[name]
        for name, quote in quotes.items():
            old, trust = self.settled.get(name, quote), self._trust.get(name, 0.0)
            if any(abs(q - a) > self._settings.noise_frac * a for q, a in zip(quote, old, strict=True)):
                old, trust = quote, 0.0
            keep = exp(-max(elapsed_s, 1e-3) / self._settings.settle_s)
            self._trust[name] = trust = keep * trust + 1.0 - keep
            part = (1.0 - keep) / trust
            self.settled[name] = (old[0] + part * (quote[0] - old[0]), old[1] + part * (quote[1] - old[1]))

    def _file(self, quotes: Prices, demand: list[float]) -> None:
        """Put an hour to its kind."""
        fade = exp(-_HOUR_S / _FADE_S)
        for kind in self.kinds:
            kind.frac *= fade
        hour = Hours(1.0, demand, quotes)
        near = min(self.kinds, key=lambda k: self._apart(k.quotes, quotes), default=None)
        if near is not None and self._apart(near.quotes, quotes) <= _ALIKE:
            self._merge(near, hour)
            return
        self.kinds.append(hour)
        if len(self.kinds) > _KINDS_MOST:
            pairs = [(self._apart(a.quotes, b.quotes), i, j) for i, a in enumerate(self.kinds) for j, b in enumerate(self.kinds[:i])]
            _, i, j = min(pairs)
            self._merge(self.kinds[j], self.kinds.pop(i))

    def _apart(self, a: Mapping[str, tuple[float, float]], b: Mapping[str, tuple[float, float]]) -> float:
        """Return the largest difference of a price, in logarithms."""
        most = 0.0
        for name in a.keys() | b.keys():
            known = self._known.get(name, (0.0, 0.0))
            for x, y in zip(a.get(name, known), b.get(name, known), strict=True):
                if x != y:
                    most = max(most, abs(log(x / y)) if x > 0 and y > 0 else 9.0)
        return most

    def _merge(self, into: Hours, other: Hours) -> None:
        whole = into.frac + other.frac
        part = other.frac / whole
        into.demand_mtok_per_s = [a + part * (b - a) for a, b in zip(into.demand_mtok_per_s, other.demand_mtok_per_s, strict=True)]
        for name in into.quotes.keys() | other.quotes.keys():
            known = self._known.get(name, (0.0, 0.0))
            (a, b), (c, d) = into.quotes.get(name, known), other.quotes.get(name, known)
            into.quotes[name] = (a + part * (c - a), b + part * (d - b))
        into.frac = whole

    def ahead(self) -> list[Hours]:
        """Return the kinds of hours to reckon with, the kind of now first; none before the first hour is over."""
        if not self.kinds:
            return []
        near = min(self.kinds, key=lambda k: self._apart(k.quotes, self.settled))
        now = near if self._apart(near.quotes, self.settled) <= _ALIKE else Hours(1.0, near.demand_mtok_per_s, dict(self.settled))
        order = [now, *(k for k in self.kinds if k is not now)]
        total = sum(k.frac for k in order)
        return [
            Hours(
                round(k.frac / total, 9),
                [float(f"{d:.6g}") for d in k.demand_mtok_per_s],
                {n: (float(f"{a:.6g}"), float(f"{b:.6g}")) for n, (a, b) in sorted(k.quotes.items())} if i else {},
            )
            for i, k in enumerate(order)
        ]

    def calm(self, quotes: Mapping[str, tuple[float, float]]) -> Prices:
        """Return the averages of what is quoted, where they differ from it."""
        rounded = {n: (float(f"{a:.6g}"), float(f"{b:.6g}")) for n, (a, b) in self.settled.items() if n in quotes}
        return {n: price for n, price in rounded.items() if price != quotes[n]}

    # --- over a restart

    def save(self, path: Path) -> None:
        """Write the kinds of hours, whole or not at all."""
        scratch = path.with_suffix(".part")
        scratch.write_bytes(msgspec.json.encode(_Kept(self.kinds, self._routes)))
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Read the kinds of hours of an earlier run; those of other routes or variants are left out."""
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return
        if kept.routes == self._routes:
            for kind in kept.kinds:
                kind.quotes = {n: q for n, q in kind.quotes.items() if n in self._known}
            self.kinds = [k for k in kept.kinds if k.frac > 0 and len(k.demand_mtok_per_s) == len(self._routes)]
