"""One tick of the broker: what is known now, in; a directive, out. No clock, no network, no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from polysilicon.cloud.contract import Contract
from polysilicon.errors import InputError
from polysilicon.gateway.broker.dispatch import Ahead, Commitment, Dispatch, Lane, dispatch
from polysilicon.gateway.broker.memory import Hours, Prices
from polysilicon.gateway.broker.steer import Steer
from polysilicon.gateway.config import BrokerPart
from polysilicon.gateway.tariff import Tariff
from polysilicon.gateway.wiring import Directive, Wiring, cap_of, first_directive, mix_price

_DAY_S = 86400.0


class View(msgspec.Struct):
    """Everything a tick looks at; logged whole, so that the tick can be done again."""

    now_s: float  # Unix time
    demand_mtok_per_s: list[float]  # per route
    mix_in_frac: list[float]  # prompt share of the tokens, per route
    quotes: Prices = {}  # variant -> dollars per million tokens in and out, as quoted now
    settled: Prices = {}  # the same without noise, where that differs: what the weights follow
    ahead: list[Hours] = []  # what the rest of the commitments' terms will be like, as seen so far; the kind of now first
    down: dict[str, str] = {}  # variants out of service, and why
    drawn_usd: dict[str, float] = {}  # contract -> drawn so far
    stages: dict[str, tuple[str, str]] = {}  # variant -> stage, gate: as promoted or demoted since the wiring
    capacity_mtok_per_s: dict[int, float] = {}  # target -> what it can take


class Logged(msgspec.Struct):
    """One decision: what was seen, what was directed."""

    view: View
    directive: Directive


class Broker:
    """The state between ticks: weights on their way, quotes that moved tariffs."""

    def __init__(self, wiring: Wiring, settings: BrokerPart, contracts: Sequence[Contract] = ()) -> None:
        self.wiring = wiring
        self.settings = settings
        self.contracts = {c.id: c for c in contracts}
        self.directive = first_directive(wiring)
        self.steers = [Steer(settings, list(route.weights)) for route in wiring.routes]
        self.reference = [mix_price(v.tariff) / 1e9 for v in wiring.variants]  # $ per Mtok when the plan was made
        self.last: Dispatch | None = None

    def tick(self, view: View) -> Directive:
        """Return the directive for what is seen now; its number rises only when it says something new."""
        wiring = self.wiring
        tariffs = [self._tariff(v.tariff, view.quotes.get(v.id), view.now_s) for v in wiring.variants]
        stages = [view.stages.get(v.id, (v.stage, v.gate)) for v in wiring.variants]
        caps = [cap_of(stage, v.share_max_frac, gate) for v, (stage, gate) in zip(wiring.variants, stages, strict=True)]
        is_open = [v.id not in view.down for v in wiring.variants]
        commitments = self._commitments(view)
        calm = [self._tariff(v.tariff, view.settled.get(v.id, view.quotes.get(v.id)), view.now_s) for v in wiring.variants]
        lanes = self._lanes(view, calm, caps, is_open, commitments)
        solve = partial(
            dispatch, demand_mtok_per_s=view.demand_mtok_per_s, commitments=commitments, capacity_mtok_per_s=view.capacity_mtok_per_s,
            cloud_share_max_frac=self.settings.cloud_share_max_frac, ahead=self._ahead(view, lanes, caps) if commitments else (),
        )  # fmt: skip
        result = solve(lanes)
        self.last = result
        usable_frac = [cap if there else 0.0 for cap, there in zip(caps, is_open, strict=True)]
        weights = self._steer(view, lanes, result, usable_frac, solve if commitments else None)
        prices = [self._price(i, tariffs[i], result, 0.75) for i in range(len(tariffs))]
        new = Directive(
            number=self.directive.number, written_s=self.directive.written_s, weights=[[round(w, 6) for w in row] for row in weights],
            caps=caps, open=is_open, price_nano_usd=[round(p * 1e9, 3) for p in prices], stages=[stage for stage, _ in stages],
            tariffs={i: t for i, t in enumerate(tariffs) if t is not wiring.variants[i].tariff or i in self.directive.tariffs},
            shadow_usd={k: max(0.0, round(usd, 4)) for k, usd in result.shadow_usd.items()}, reason=self._reason(view),
        )  # fmt: skip
        if msgspec.structs.asdict(new) != msgspec.structs.asdict(self.directive):
            new.number += 1
            new.written_s = view.now_s
            self.directive = new
        return self.directive

    @staticmethod
    def _tariff(tariff: Tariff, quote: tuple[float, float] | None, now_s: float) -> Tariff:
        """Return the tariff with a quoted price in place of the known one; cache rates keep their ratio to the input rate."""
        if quote is None:
            return tariff
        fresh, out = round(quote[0] * 1e6), round(quote[1] * 1e6)
        if (fresh, out) == (tariff.rates[0], tariff.rates[4]):
            return tariff
        up = fresh / tariff.rates[0] if tariff.rates[0] > 0 else 1.0
        cached, w5, w1 = (rate if rate < 0 else round(rate * up) for rate in tariff.rates[1:4])
        day = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        version = f"{tariff.version.split('@')[0]}@quote-{day}"
        return msgspec.structs.replace(tariff, version=version, rates=(fresh, cached, w5, w1, out), batch=None, long=None)

    def _commitments(self, view: View) -> list[Commitment]:
        """Return what each contract in force still asks for by its end."""
        today = datetime.fromtimestamp(view.now_s, UTC)
        out: list[Commitment] = []
        if sum(view.demand_mtok_per_s) <= 0 and not view.ahead:  # without demand nothing can be said about the rest of the term
            return out
        for contract in self.contracts.values():
            left_s = (datetime.fromisoformat(contract.end).replace(tzinfo=UTC) - today).total_seconds()
            if left_s > 0 and contract.start <= today.date().isoformat():
                drawn = view.drawn_usd.get(contract.id, 0.0) + (contract.drawn_before_usd or 0.0)
                missing = contract.take_or_pay_frac * contract.commit_usd - drawn
                out.append(Commitment(contract.id, max(0.0, missing), max(left_s, 1.0)))
        return out

    def _lanes(
        self,
        view: View,
        tariffs: Sequence[Tariff],
        caps: Sequence[float],
        is_open: Sequence[bool],
        commitments: Sequence[Commitment],
    ) -> list[Lane]:
        short = self._short_of(view, tariffs, commitments)
        lanes = []
        for r, route in enumerate(self.wiring.routes):
            cut = any(not is_open[v] or caps[v] < w - 1e-9 for v, w in zip(route.variants, route.weights, strict=True) if w > 0)
            for v, planned in zip(route.variants, route.weights, strict=True):
                variant = self.wiring.variants[v]
                usd = _mix_usd(tariffs[v], view.mix_in_frac[r])
                cap = caps[v] if is_open[v] else 0.0
                low, high = 0.0, cap
                if self.settings.mode == "plan":
                    low, most = self._bounds(v, usd, min(planned, cap), cap, view.mix_in_frac[r], variant.contract in short)
                    high = cap if cut else most  # what one cannot carry the others take; they keep what is theirs
                target = self.wiring.targets[variant.target]
                lanes.append(Lane(r, v, variant.target, target.cloud, usd, variant.contract, low, high))
        return lanes

    def _ahead(self, view: View, lanes: Sequence[Lane], caps: Sequence[float]) -> list[Ahead]:
        """Return the kinds of hours to come, priced lane by lane; an outage of now is none then."""
        out = []
        for hours in view.ahead:
            prices = []
            for lane in lanes:
                variant = self.wiring.variants[lane.variant]
                tariff = self._tariff(variant.tariff, hours.quotes.get(variant.id), view.now_s)
                prices.append(_mix_usd(tariff, view.mix_in_frac[lane.route]))
            most = [max(lane.cap_frac, lane.low_frac) if lane.cap_frac > 0 else caps[lane.variant] for lane in lanes]
            out.append(Ahead(hours.frac, tuple(hours.demand_mtok_per_s), tuple(prices), tuple(most)))
        return out

    def _bounds(self, v: int, usd: float, planned: float, cap: float, mix: float, short: bool) -> tuple[float, float]:
        """Keep the plan's share except where a price has moved: less of what became dearer, more of what became cheaper."""
        was = _mix_usd(self.wiring.variants[v].tariff, mix)
        change = usd / was - 1.0 if was > 0 else 0.0
        gain = self.settings.noise_frac
        dearer, cheaper = change >= gain, change <= -gain or short
        others_moved = self._others_moved
        low = 0.0 if dearer or others_moved > 0 else planned
        high = cap if cheaper or others_moved < 0 else planned
        return min(low, cap), max(low, high)

    def _short_of(self, view: View, tariffs: Sequence[Tariff], commitments: Sequence[Commitment]) -> set[str]:
        """Return the contracts that the plan's shares would not meet, and note which way prices have moved."""
        short = set()
        hours = view.ahead or [Hours(1.0, view.demand_mtok_per_s)]
        for c in commitments:
            per_s = 0.0
            for r, route in enumerate(self.wiring.routes):
                demand = sum(h.frac * h.demand_mtok_per_s[r] for h in hours)
                for v, w in zip(route.variants, route.weights, strict=True):
                    if self.wiring.variants[v].contract == c.id:
                        per_s += w * demand * _mix_usd(tariffs[v], view.mix_in_frac[r])
            if per_s * c.left_s < c.missing_usd * 0.999:
                short.add(c.id)
        gain = self.settings.noise_frac
        moved = []
        for variant, tariff in zip(self.wiring.variants, tariffs, strict=True):
            was, now = _mix_usd(variant.tariff, 0.75), _mix_usd(tariff, 0.75)
            moved.append(now / was - 1.0 if was > 0 else 0.0)
        # what became cheaper (or is short) takes from the others; what became dearer gives to them
        self._others_moved = (1 if short or any(m <= -gain for m in moved) else 0) or (-1 if any(m >= gain for m in moved) else 0)
        return short

    def _price(self, v: int, tariff: Tariff, result: Dispatch, mix: float) -> float:
        """Return the marginal price: list less discount, less what drawing it is worth to its commitment."""
        usd = _mix_usd(tariff, mix)
        return usd * (1.0 - min(1.0, result.shadow_usd.get(self.wiring.variants[v].contract, 0.0)))

    def _steer(
        self,
        view: View,
        lanes: Sequence[Lane],
        result: Dispatch,
        usable_frac: Sequence[float],
        solve: Callable[[Sequence[Lane]], Dispatch] | None,
    ) -> list[list[float]]:
        weights = []
        for r, steer in enumerate(self.steers):
            mine = [i for i, lane in enumerate(lanes) if lane.route == r]
            wanted = [result.shares[i] for i in mine]
            total = sum(wanted)
            if total <= 1e-9:  # nothing may serve: keep what there is, the router will say so
                weights.append([0.0 if lanes[i].cap_frac <= 0 else w for i, w in zip(mine, steer.weights, strict=True)])
                continue
            wanted = [w / total for w in wanted]
            price = [self._lane_price(lanes[i], result) for i in mine]
            stay = partial(self._stay, lanes, mine, result, solve) if solve is not None else None
            usable = [usable_frac[lanes[i].variant] for i in mine]
            planned = [(lanes[i].low_frac, max(lanes[i].low_frac, lanes[i].cap_frac)) for i in mine]
            weights.append(list(steer.step(view.now_s, wanted, price, usable, planned=planned, stay=stay)))
        return weights

    @staticmethod
    def _stay(
        lanes: Sequence[Lane], mine: Sequence[int], result: Dispatch, solve: Callable[[Sequence[Lane]], Dispatch], goal: Sequence[float]
    ) -> float:
        """Return what it costs, as a share of what these lanes cost, to stay with a goal whenever prices are as now: other hours make up for it."""
        held = list(lanes)
        for i, share in zip(mine, goal, strict=True):
            held[i] = replace(lanes[i], low_frac=min(share, lanes[i].cap_frac), cap_frac=min(share, lanes[i].cap_frac))
        have = sum(share * lanes[i].usd_per_mtok for i, share in zip(mine, goal, strict=True))
        now_usd_per_s = result.now_mtok_per_s[lanes[mine[0]].route] * have
        return (solve(held).usd_per_s - result.usd_per_s) / now_usd_per_s if now_usd_per_s > 0 else 0.0

    @staticmethod
    def _lane_price(lane: Lane, result: Dispatch) -> float:
        return lane.usd_per_mtok * (1.0 - min(1.0, result.shadow_usd.get(lane.contract, 0.0)))

    def _reason(self, view: View) -> str:
        parts = [f"{self.wiring.routes[r].id}: {steer.reason}" for r, steer in enumerate(self.steers) if steer.reason != "plan"]
        parts += [f"{name} out of service: {why}" for name, why in sorted(view.down.items())]
        return "; ".join(parts) or "plan"


def _mix_usd(tariff: Tariff, in_frac: float) -> float:
    """Return dollars per million tokens at a share of prompt tokens, discount included; nothing where it is paid for already."""
    if tariff.provisioned:
        return 0.0
    fresh, out = max(0, tariff.rates[0]) / 1e6, max(0, tariff.rates[4]) / 1e6
    return (fresh * in_frac + out * (1.0 - in_frac)) * (1.0 - tariff.discount_frac)


def replay(wiring: Wiring, settings: BrokerPart, contracts: Sequence[Contract], log: Iterable[Logged]) -> list[Directive]:
    """Return the directives that the logged views lead to: the same as the logged ones, or something else decided.

    The log of a controller holds the ticks that changed something; a number that does not rise says that it began anew.
    """
    out: list[Directive] = []
    broker, last = Broker(wiring, settings, contracts), 0
    for entry in log:
        if entry.directive.number <= last and entry.directive.number <= 2:
            broker = Broker(wiring, settings, contracts)
        last = entry.directive.number
        out.append(broker.tick(entry.view))
    return out


def read_log(path: Path) -> list[Logged]:
    """Read a controller's `decisions.jsonl`; a line torn by a crash is left out.

    Raises: InputError when it cannot be read.
    """
    try:
        rows = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    decode = msgspec.json.Decoder(Logged).decode
    out = []
    for row in rows:
        try:
            out.append(decode(row))
        except msgspec.MsgspecError:
            continue
    return out
