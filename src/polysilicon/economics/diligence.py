"""What a reviewer asks of a deal first: concentration, related parties, and what is committed when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from polysilicon.economics.deal import BINDING, contract_of
from polysilicon.economics.deal_report import DealAnswer
from polysilicon.economics.flows import SPEND
from polysilicon.economics.milestones import milestones_of

Table = tuple[Sequence[str], Sequence[Sequence[object]]]


def tables(answer: DealAnswer) -> dict[str, Table]:
    """Return the pack's tables by title; a column whose head ends in $ is dollars."""
    return {
        "Concentration of spend": _concentration(answer),
        "Related parties": _related(answer),
        "Commitments schedule": _commitments(answer),
        "Terms": _terms(answer),
    }


def _concentration(answer: DealAnswer) -> Table:
    received: dict[str, float] = defaultdict(float)
    buyers = {c.buyer for c in answer.deal.binding_commitments()}
    for flow in answer.projection.flows:
        if flow.kind in SPEND and flow.payer in buyers:
            received[flow.payee] += flow.usd
    return ("supplier", "paid by the buyer $"), [(name, usd) for name, usd in sorted(received.items(), key=lambda item: -item[1])]


def _related(answer: DealAnswer) -> Table:
    rows: list[Sequence[object]] = []
    for leg in answer.deal.equity:
        back = answer.circularity.returned_usd.get(leg.payer, 0.0)
        rows.append((leg.payer, leg.payee, "equity", leg.status, leg.usd, back))
    for party in answer.deal.parties:
        rows += [(party.id, other, f"owns {share:.0%}", "stated", 0.0, 0.0) for other, share in party.owns_frac.items()]
    return ("party", "with", "tie", "status", "amount $", "comes back as revenue $"), rows


def _commitments(answer: DealAnswer) -> Table:
    rows: list[Sequence[object]] = []
    for c in answer.deal.commitments:
        binding = "binding" if c.status in BINDING else "not binding"
        rows += [(c.contract.id, c.buyer, c.seller, c.status, binding, begin, by, usd) for begin, by, usd in milestones_of(contract_of(c.contract))]
    return ("contract", "buyer", "seller", "status", "standing", "from", "due by", "due $"), rows


def _terms(answer: DealAnswer) -> Table:
    rows: list[Sequence[object]] = [(f"note {i}", words) for i, words in enumerate(answer.entanglements, 1)]
    rows += [(f"right {name}", f"worth {usd / 1e9:.2f} B$ today") for name, usd in answer.rights.items()]
    rows += [(f"exclusivity {bond.bound}", f"to {bond.to}: {bond.scope}") for bond in answer.deal.exclusivity]
    return ("term", "what it says"), rows
