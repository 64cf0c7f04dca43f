"""A deal's terms as sections of a scenario: its contracts, its exclusivity, its rights to chips before others.

What is only talked about or a letter is left out, and said. So is what a plan cannot hold.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError

from polysilicon.cloud.contract import Contract
from polysilicon.cloud.offer import Offer
from polysilicon.economics.deal import BINDING, Deal, ExclusivityPart
from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.scenario.calendar import add_months
from polysilicon.scenario.schema import ContractPart, OfferPart
from polysilicon.units import HOURS_PER_YEAR

NEEDS_SCOPE = ("capacity_mw", "equity_linked")  # kinds whose scope a scenario wants said


@dataclass(frozen=True, slots=True)
class Sections:
    """What a scenario takes over."""

    contracts: tuple[ContractPart, ...]
    own: tuple[OfferPart, ...]
    left_out: tuple[str, ...]  # in words, why

    def yaml(self, title: str) -> str:
        """Return the text of the sections, to be pasted or merged into a scenario file."""
        value: dict[str, Any] = {"contracts": [_plain(part) for part in self.contracts]}
        if self.own:
            value["offers"] = {"own": [_plain(part) for part in self.own]}
        return _dump(value, [title, *self.left_out])


def sections(deal: Deal, offers: Iterable[Offer], *, buyer: str = "", all_in_w: Mapping[str, float | None] | None = None) -> Sections:
    """Return the contracts and offers that a buyer's scenario takes over from a deal.

    - contracts: what is announced or signed, as the file words it
    - exclusivity of the buyer to a seller: the seller's contract becomes exclusive; one that ends on another day than the
      contract becomes a contract of its own, without a commitment
    - priority: an offer of the right's chips from its date; everyone's offers of that chip start on the public date
    - options: terms the plan may take or leave, one for each year of the window, at most one of them; the strike becomes a price
      per chip-hour at the chip's all-in watts (`all_in_w`, by chip)

    Raises: InputError for a buyer who commits to nothing.
    """
    name = buyer or _buyer(deal)
    mine = [leg for leg in deal.commitments if leg.buyer == name]
    if not mine:
        raise InputError(f'"{name}" commits to nothing in this deal', hint=did_you_mean(name, {leg.buyer for leg in deal.commitments}))
    left = [f'contract "{leg.contract.id}" is left out: {leg.status}' for leg in mine if leg.status not in BINDING]
    left += [f'contract "{leg.contract.id}" still needs a scope' for leg in mine if leg.contract.kind in NEEDS_SCOPE and leg.contract.scope is None]
    contracts = {leg.contract.id: leg.contract for leg in mine if leg.status in BINDING}
    sellers = {leg.contract.id: leg.seller for leg in mine}
    for bond in deal.exclusivity:
        if bond.bound == name:
            left += _bind(bond, contracts, sellers)
        elif bond.to == name:
            left.append(f"{bond.bound} sells to {name} alone ({bond.scope}): left out, it binds others and not this plan")
    own, unmet = _priority(deal, name, {part.cloud for part in contracts.values()}, tuple(offers))
    cloud_of = {leg.seller: leg.contract.cloud for leg in mine}
    rights, unusable = _options(deal, name, cloud_of, all_in_w or {})
    return Sections((*contracts.values(), *rights), own, (*left, *unmet, *unusable))


def of_contracts(contracts: Sequence[Contract]) -> Sections:
    """Return contracts, as the planner holds them, as a scenario words them.

    Raises: InputErrors for everything that a scenario cannot say, an id with strange characters for one.
    """
    left = [f'contract "{c.id}" still needs a scope' for c in contracts if c.kind in NEEDS_SCOPE]
    parts: list[ContractPart] = []
    problems: list[InputError] = []
    for contract in contracts:
        try:
            parts.append(_part(contract))
        except ValidationError as error:
            problems += [InputError(f'contract "{contract.id}": {".".join(map(str, e["loc"]))}: {e["msg"]}') for e in error.errors(include_url=False)]
    if problems:
        raise InputErrors(problems)
    return Sections(tuple(parts), (), tuple(left))


def _buyer(deal: Deal) -> str:
    buyers = sorted({leg.buyer for leg in deal.commitments})
    if deal.lab and deal.lab.party in buyers:
        return deal.lab.party
    if len(buyers) != 1:
        raise InputError(f"this deal has {len(buyers)} buyers; whose scenario is it?", hint=", ".join(buyers))
    return buyers[0]


def _bind(bond: ExclusivityPart, contracts: dict[str, ContractPart], sellers: Mapping[str, str]) -> list[str]:
    """Make contracts with a seller exclusive until a day; return in words what could not be."""
    words = f"exclusivity to {bond.to} ({bond.scope})"
    if bond.status not in BINDING:
        return [f"{words} is left out: {bond.status}"]
    theirs = [part for id_, part in contracts.items() if sellers.get(id_) == bond.to]
    if not theirs:
        return [f"{words} is left out: no contract says what its cloud is called"]
    if bond.until is not None and bond.until <= min(part.start for part in theirs):
        return [f"{words} is left out: it is over before the contract begins"]
    for part in theirs if bond.until is None else [p for p in theirs if p.end == bond.until]:
        contracts[part.id] = part.model_copy(update={"exclusive": True})
    if bond.until is not None and all(part.end != bond.until for part in theirs):
        start = min(part.start for part in theirs)
        id_ = f"{theirs[0].id}-exclusivity"
        contracts[id_] = ContractPart(
            id=id_, cloud=theirs[0].cloud, kind="committed_spend", start=start, end=bond.until, commit_usd=0.0, exclusive=True, source=bond.source
        )
    return [f"{words}: the plan holds it for everything, whatever its scope says"]


def _priority(deal: Deal, holder: str, clouds: set[str], offers: Sequence[Offer]) -> tuple[tuple[OfferPart, ...], list[str]]:
    """Return the offers that rights grant, on the clouds the holder has terms with, and in words the rights that grant none."""
    own: dict[str, OfferPart] = {}
    left = []
    for right in (r for r in deal.priority if r.holder == holder):
        words = f"priority for {right.chips:,.0f} {right.chip}"
        public = [o for o in offers if o.chip == right.chip and o.kind in ("on_demand", "reserved") and o.usd_per_chip_hour is not None]
        near = sorted((o for o in public if o.cloud in clouds), key=lambda o: (o.usd_per_chip_hour or 0.0, o.id))
        if right.status not in BINDING:
            left.append(f"{words} is left out: {right.status}")
        elif not near:
            left.append(f"{words} is left out: no priced offer of {right.chip} on {', '.join(sorted(clouds)) or 'any cloud'}")
        else:
            # one offer carries the right: a copy of each would grant its chips several times
            granted = OfferPart(
                id=f"{near[0].id}-priority", like=near[0].id, max_chips=right.chips, available_from=right.available_from,
                source=right.source or "deal file",
            )  # fmt: skip
            own[granted.id] = granted
            for o in public:
                day = max(right.public_from, date.fromisoformat(o.available_from) if o.available_from else right.public_from)
                own[o.id] = OfferPart(id=o.id, available_from=day)
            left.append(f"{words}: everyone's offers follow from {right.public_from}; delete those of clouds that your scenario leaves out")
    return tuple(own.values()), left


def _options(deal: Deal, holder: str, cloud_of: Mapping[str, str], all_in_w: Mapping[str, float | None]) -> tuple[list[ContractPart], list[str]]:
    """Return terms a plan may take or leave for each year in which an option can be used, and in words the options that give none."""
    out: list[ContractPart] = []
    left = []
    for option in (o for o in deal.options if o.holder == holder):
        watts = all_in_w.get(option.chip)
        why = (
            option.status if option.status not in BINDING
            else "it names no chip" if not option.chip
            else f"the all-in power of {option.chip} is not known" if not watts
            else f"no contract says what {option.writer}'s cloud is called" if option.writer not in cloud_of
            else ""
        )  # fmt: skip
        if why or not watts:
            left.append(f'option "{option.id}" is left out: {why}')
            continue
        usd = option.strike_usd_per_gw_year / (1e9 / watts * HOURS_PER_YEAR)
        days = [day for k in range(30) if (day := add_months(option.window_start, 12 * k)) <= option.window_end]
        out += [
            ContractPart(
                id=f"{option.id}-{day.year}", cloud=cloud_of[option.writer], kind="capacity_mw", start=day,
                end=add_months(day, round(12 * option.years)), it_mw=option.gw * 1000, chip=option.chip, usd_per_chip_hour=usd,
                scope=option.scope, signed=False, option=option.id, source=option.source,
            )
            for day in days
        ]  # fmt: skip
        words = f'option "{option.id}": the plan may use it in one of {len(days)} years, at {usd:.2f} $ per chip-hour ({watts:,.0f} W a chip)'
        words += "; delete the years beyond your horizon"
        left.append(words if option.scope else f"{words}; it still needs a scope")
    return out, left


def _part(c: Contract) -> ContractPart:
    """Return a contract as a scenario words it."""
    stated = {
        name: value
        for name in ("usd_per_month", "exit_fee_usd", "equity_usd", "it_mw", "chips", "usd_per_chip_hour", "drawn_before_usd", "chip")
        if (value := getattr(c, name))
    }
    return ContractPart.model_validate(
        stated
        | {
            "id": c.id, "cloud": c.cloud, "kind": c.kind, "start": c.start, "end": c.end, "commit_usd": c.commit_usd, "source": c.source,
            "take_or_pay_frac": c.take_or_pay_frac, "rollover": c.rollover, "eligible": c.eligible, "signed": c.signed, "exclusive": c.exclusive,
            "option": c.option or None,
            "draw_schedule": [{"by": by, "cumulative_usd": usd} for by, usd in c.draw_schedule],
            "discount_tiers": [{"from_usd": t.from_usd, "discount_frac": t.discount_frac} for t in c.discount_tiers],
            "ramp_mw": c.ramp_mw,
        }
    )  # fmt: skip


def _plain(part: ContractPart | OfferPart) -> dict[str, Any]:
    """Return what a part says beyond the defaults, in types that YAML has."""
    return {name: _listed(value) for name, value in part.model_dump(exclude_defaults=True).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def _dump(value: Mapping[str, Any], comments: Sequence[str]) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.width = 140
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(dict(value), text)
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    return head + text.getvalue()
