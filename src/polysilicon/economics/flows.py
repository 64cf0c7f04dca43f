"""Money as a graph: cycles, round trips, what really comes from outside.

kappa        = equity from suppliers / spend committed to the same suppliers
round trip v = what reaches v as revenue of the deal, directly and through others / what v invested
               (Leontief: R = spend (I - A)^-1, A = share of each party's receipts from the deal that it passes on)
outside need = commitments - equity - gross profit earned elsewhere: what customers or new investors must bring
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from polysilicon.economics.deal import OUTSIDE, Deal
from polysilicon.economics.projection import Flow, Projection

SPEND = ("compute", "shortfall", "hardware")
MAX_CYCLES = 200


@dataclass(frozen=True, slots=True)
class Circle:
    """Money that can come back to where it started."""

    parties: tuple[str, ...]  # the first is where it starts and ends
    usd: float  # the smallest link
    investment: bool  # whether one link is equity


@dataclass(frozen=True, slots=True)
class Circularity:
    """How much of a deal goes in a circle."""

    circles: tuple[Circle, ...]
    kappa_ratio: float | None
    equity_usd: float
    committed_usd: float
    gross_usd: float
    net_usd: float
    round_trip_ratio: Mapping[str, float]
    returned_usd: Mapping[str, float]
    look_through_usd: Mapping[str, float]
    outside_need_usd: float
    conserved_usd: float  # sum over all parties of net flow: 0


def circularity(deal: Deal, projection: Projection) -> Circularity:
    """Return kappa, circles, round trips and the outside need of a deal."""
    flows = [f for f in projection.flows if f.usd > 0]
    committed = sum(c.contract.commit_usd or 0.0 for c in deal.binding_commitments())
    suppliers = _reached(flows, {c.buyer for c in deal.binding_commitments()})
    buyers = {c.buyer for c in deal.binding_commitments()}
    equity = sum(leg.usd for leg in deal.binding_equity() if leg.payer in suppliers and leg.payee in buyers)
    invested: dict[str, float] = defaultdict(float)
    for leg in deal.binding_equity():
        invested[leg.payer] += leg.usd
    returned = receipts(flows, buyers)
    return Circularity(
        circles=tuple(circles(flows)),
        kappa_ratio=equity / committed if committed > 0 else None,
        equity_usd=equity,
        committed_usd=committed,
        gross_usd=committed + sum(leg.usd for leg in deal.binding_equity()),
        net_usd=committed - sum(leg.usd for leg in deal.binding_equity() if leg.payee in buyers),
        round_trip_ratio={v: returned.get(v, 0.0) / usd for v, usd in invested.items() if usd > 0},
        returned_usd={v: returned.get(v, 0.0) for v in invested},
        look_through_usd={v: max(0.0, usd - invested.get(v, 0.0)) for v, usd in returned.items() if v != OUTSIDE},
        outside_need_usd=max(0.0, committed - equity),
        conserved_usd=conserved(flows),
    )


def conserved(flows: Iterable[Flow]) -> float:
    """Return the sum over parties of net flow; anything but 0 means that money appeared or vanished."""
    net: dict[str, float] = defaultdict(float)
    for flow in flows:
        net[flow.payer] -= flow.usd
        net[flow.payee] += flow.usd
    return sum(net.values())


def matrix(flows: Iterable[Flow], kinds: tuple[str, ...] = ()) -> dict[tuple[str, str], float]:
    """Return total dollars by payer and payee, of some kinds or of all."""
    out: dict[tuple[str, str], float] = defaultdict(float)
    for flow in flows:
        if not kinds or flow.kind in kinds:
            out[flow.payer, flow.payee] += flow.usd
    return dict(out)


def receipts(flows: Iterable[Flow], buyers: set[str]) -> dict[str, float]:
    """Return what each party receives of the buyers' spend, directly and passed on by others.

    Each party passes on the share of its receipts that it pays to another in spend flows, at most all of it.

    >>> f = [Flow("lab", "cloud", "compute", "c", 1, 30.0), Flow("cloud", "maker", "hardware", "h", 0, 12.0)]
    >>> receipts(f, {"lab"})
    {'cloud': 30.0, 'maker': 12.0}
    """
    spend = matrix(flows, SPEND)
    into: dict[str, float] = defaultdict(float)
    for (_, payee), usd in spend.items():
        into[payee] += usd
    share = {(a, b): min(1.0, usd / into[a]) for (a, b), usd in spend.items() if a not in buyers and into.get(a, 0.0) > 0}
    arrived: dict[str, float] = defaultdict(float)
    wave: dict[str, float] = defaultdict(float)
    for (payer, payee), usd in spend.items():
        if payer in buyers:
            wave[payee] += usd
    for _ in range(64):
        following: dict[str, float] = defaultdict(float)
        for party, usd in wave.items():
            arrived[party] += usd
            for (a, b), part in share.items():
                if a == party:
                    following[b] += usd * part
        wave = following
        if sum(wave.values()) < 1e-6:
            break
    return {party: usd for party, usd in arrived.items() if usd > 0}


def circles(flows: Iterable[Flow]) -> list[Circle]:
    """Return the simple cycles among the parties, largest first; the outside world is not a link."""
    edges = {pair: usd for pair, usd in matrix(flows).items() if OUTSIDE not in pair}
    equity = set(matrix(flows, ("equity",)))
    after: dict[str, list[str]] = defaultdict(list)
    for payer, payee in edges:
        after[payer].append(payee)
    found: list[Circle] = []
    for start in sorted(after):
        _walk(start, (start,), after, edges, equity, found)
    return sorted(found, key=lambda c: -c.usd)


def _walk(
    start: str,
    path: tuple[str, ...],
    after: Mapping[str, list[str]],
    edges: Mapping[tuple[str, str], float],
    equity: set[tuple[str, str]],
    found: list[Circle],
) -> None:
    for follower in after.get(path[-1], ()):
        if len(found) >= MAX_CYCLES:
            return
        if follower == start:
            links = list(zip(path, (*path[1:], start), strict=True))
            parties = _from_investor(path, links, equity)
            found.append(Circle(parties, min(edges[link] for link in links), any(link in equity for link in links)))
        elif follower > start and follower not in path:
            _walk(start, (*path, follower), after, edges, equity, found)


def _from_investor(path: tuple[str, ...], links: list[tuple[str, str]], equity: set[tuple[str, str]]) -> tuple[str, ...]:
    """Return the cycle told from the party whose equity is in it."""
    at = next((i for i, link in enumerate(links) if link in equity), 0)
    return path[at:] + path[:at]


def _reached(flows: list[Flow], buyers: set[str]) -> set[str]:
    reached, todo = set[str](), list(buyers)
    links = matrix(flows, SPEND)
    while todo:
        party = todo.pop()
        for payer, payee in links:
            if payer == party and payee not in reached and payee != OUTSIDE:
                reached.add(payee)
                todo.append(payee)
    return reached


def entanglements(deal: Deal) -> tuple[str, ...]:
    """Return in words where ownership, supply and rivalry meet: what an outsider would want to be told."""
    words = []
    roles = {party.id: party for party in deal.parties}
    sells = {(c.seller, c.buyer) for c in deal.binding_commitments()}
    invests = {(leg.payer, leg.payee) for leg in deal.binding_equity()}
    if deal.provider:
        sells.add((deal.provider.supplier, deal.provider.party))
    for seller, buyer in sorted(sells):
        if (seller, buyer) in invests:
            words.append(f"{seller} sells to {buyer} and owns part of it")
        for other, share in roles[seller].owns_frac.items():
            if other in roles.get(buyer, roles[seller]).rivals:
                words.append(f"{seller} sells to {buyer} and owns {share:.0%} of its rival {other}: path {seller} - {other} - {buyer}")
    for supplier, cloud in sorted(sells):
        for _, lab in sorted(pair for pair in sells if pair[0] == cloud):
            if (supplier, lab) in invests:
                words.append(f"{supplier} owns part of {lab}, which pays {cloud}, which buys from {supplier}")
    bonds = (f"{b.bound} is bound to {b.to}: {b.scope}" + (f" until {b.until}" if b.until else "") for b in deal.exclusivity)
    return (*words, *bonds)
