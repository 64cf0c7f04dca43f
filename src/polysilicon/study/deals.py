"""The deals and claims a scenario refers to, as sections of its report; bills of one contract in plan and deal side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polysilicon.catalogue import Catalogue
from polysilicon.economics.audit import Finding, audit
from polysilicon.economics.claims import read_claims
from polysilicon.economics.deal import Deal, read_deal
from polysilicon.economics.deal_report import DealAnswer, whole
from polysilicon.economics.references import citer
from polysilicon.portfolio import Plan
from polysilicon.report.audit import overview
from polysilicon.report.deal import sections
from polysilicon.report.evidence import Section
from polysilicon.scenario.schema import Scenario


@dataclass(frozen=True, slots=True)
class Papers:
    """What a scenario refers to, read and checked before anything is planned."""

    deals: tuple[Deal, ...]
    claims: tuple[tuple[str, tuple[Finding, ...]], ...]  # title, findings


def papers_of(scenario: Scenario, catalogue: Catalogue) -> Papers:
    """Return the deals and audited claims of a scenario.

    Raises: InputErrors with the place of everything that is wrong in those files.
    """
    deals = tuple(read_deal(scenario.file_beside(name)) for name in scenario.deals)
    found = []
    for name in scenario.claims:
        claims = read_claims(scenario.file_beside(name))
        found.append((claims.title or name, audit(claims, citer(catalogue))))
    return Papers(deals, tuple(found))


def sections_of(papers: Papers, plan: Plan) -> tuple[Section, ...]:
    """Return the report's sections: each deal from every side, with its bill beside the plan's, then the claims."""
    out: list[Section] = []
    for deal in papers.deals:
        answer = whole(deal)
        out.append(_first(answer, plan))
        out += [replace(part, under=True) for part in sections(answer)]
    for title, findings in papers.claims:
        out.append(replace(overview(findings), title=f"Claims: {title}", short="Claims"))
    return tuple(out)


def _first(answer: DealAnswer, plan: Plan) -> Section:
    deal = answer.deal
    rows = list(bills(answer, plan))
    words = [deal.description.strip()] if deal.description else []
    words.append(f"Deal file as of {deal.as_of}. It stands beside the plan: what the plan buys is in the sections above.")
    heads = ("contract", "billed in the plan B$", "in the deal, same dates B$", "committed B$", "standing")
    return Section(f"Deal: {deal.name}", tuple(words), tables=((heads, rows),) if rows else (), short="Deal")


def bills(answer: DealAnswer, plan: Plan) -> Iterable[tuple[str, float | None, float, float, str]]:
    """Return, by contract, what the plan bills and what the deal's own usage bills over the plan's dates."""
    begin = plan.periods[0].start
    billed: dict[str, float] = {}
    for line in plan.contracts:
        billed[line.contract] = billed.get(line.contract, 0.0) + line.total_usd
    last = plan.periods[-1]
    for commitment, bill in zip(answer.deal.binding_commitments(), answer.projection.bills, strict=True):
        inside = [
            line.total_usd
            for line, period in zip(bill.lines, answer.projection.periods, strict=True)
            if begin <= period.start <= last.start
        ]  # fmt: skip
        mine = billed.get(commitment.contract.id)
        committed = commitment.contract.commit_usd or 0.0
        yield commitment.contract.id, None if mine is None else mine / 1e9, sum(inside) / 1e9, committed / 1e9, commitment.status
