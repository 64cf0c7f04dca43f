"""Everything there is to say of a deal, computed once: for tables, JSON, pages and workbooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polysilicon.economics import flows, uncertainty, verdicts
from polysilicon.economics.deal import Deal, contract_of
from polysilicon.economics.projection import Projection, project
from polysilicon.economics.rights import Exercise, exercise
from polysilicon.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class DealAnswer:
    """A deal from every side."""

    deal: Deal
    scenario: str
    projection: Projection
    parties: tuple[verdicts.PartyView, ...]
    legs: tuple[verdicts.Leg, ...]
    circularity: flows.Circularity
    lab: verdicts.LabView | None
    provider: verdicts.ProviderView | None
    supplier: verdicts.SupplierView | None
    rights: Mapping[str, float]
    options: tuple[Exercise, ...]
    ramp: tuple[verdicts.RampStep, ...]
    entanglements: tuple[str, ...]
    uncertainty: uncertainty.Uncertainty | None
    scenarios: Mapping[str, Mapping[str, float]]

    def due_usd(self) -> Callable[[str], float]:
        """Return what all binding commitments have due by a day, cumulative."""
        terms = [contract_of(c.contract, self.deal.rack()) for c in self.deal.binding_commitments()]
        return lambda day: sum(t.due_usd(day) for t in terms if t.commit_usd)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        out = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__ if name not in ("deal", "projection")}
        out["name"], out["as_of"] = self.deal.name, self.deal.as_of.isoformat()
        out["drivers"] = dict(self.projection.drivers)
        out["periods"] = [
            asdict(p) | {"lab_margin_frac": p.lab_margin_frac, "provider_margin_frac": p.provider_margin_frac} for p in self.projection.periods
        ]
        out["flows"] = [asdict(f) for f in self.projection.flows]
        out["matrix_usd"] = [{"payer": a, "payee": b, "usd": usd} for (a, b), usd in flows.matrix(self.projection.flows).items()]
        out["notes"] = list(self.deal.notes)
        return out


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def whole(deal: Deal, *, scenario: str = "", draws: int | None = None, seed: int | None = None, sobol: bool = False) -> DealAnswer:
    """Return a deal from every side, under its base drivers or one of its scenarios.

    Raises: InputError when the scenario is not in the file.
    """
    if scenario and scenario not in deal.scenarios:
        known = ", ".join(deal.scenarios) or "none"
        raise InputError(f'scenario "{scenario}" is not in the file', hint=did_you_mean(scenario, deal.scenarios) or f"scenarios: {known}")
    projection = project(deal, deal.scenarios.get(scenario))
    spread = uncertainty.run(deal, draws=draws, seed=seed, sobol=sobol) if deal.drivers and draws != 0 else None
    return DealAnswer(
        deal=deal,
        scenario=scenario,
        projection=projection,
        parties=verdicts.party_views(deal, projection),
        legs=verdicts.legs(deal, projection),
        circularity=flows.circularity(deal, projection),
        lab=verdicts.lab_view(deal),
        provider=verdicts.provider_view(deal, projection),
        supplier=verdicts.supplier_view(deal, projection),
        rights=verdicts.rights(deal),
        options=tuple(exercise(o, deal.as_of, rate_frac=deal.discount_per_year_frac, seed=deal.seed if seed is None else seed) for o in deal.options),
        ramp=verdicts.ramp(deal),
        entanglements=flows.entanglements(deal),
        uncertainty=spread,
        scenarios=compare(deal),
    )


def compare(deal: Deal) -> dict[str, dict[str, float]]:
    """Return each party's net present value (with what it owns) and the lab's margin under the base and every scenario."""
    out = {}
    for name in ("base", *deal.scenarios):
        projection = project(deal, deal.scenarios.get(name))
        row = {view.party: view.npv_with_values_usd for view in verdicts.party_views(deal, projection)}
        sales, billed = sum(p.sales_usd for p in projection.periods), sum(p.billed_usd for p in projection.periods)
        if sales > 0:
            row["lab margin"] = 1 - billed / sales
        out[name] = row
    return out
