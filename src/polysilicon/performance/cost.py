"""Money and watts of a serving point: prompt and output tokens priced apart, users a rack, what a chip's fields are worth."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit
from polysilicon.model.architecture import Model
from polysilicon.performance.serving import best
from polysilicon.performance.types import ServingPoint
from polysilicon.silicon.chip import Chip
from polysilicon.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK

WHAT_IF_FIELDS = ("hbm_gb_per_s", "hbm_gb", "dense_tflop_per_s", "scale_up_gb_per_s", "scale_out_gb_per_s", "tdp_w")


@dataclass(frozen=True, slots=True)
class TokenCost:
    """What a million tokens cost on a serving point at a chip price."""

    usd_per_mtok_in: float  # prompt tokens that are not cached
    usd_per_mtok_out: float
    usd_per_mtok_blended: float  # prompt and output tokens together
    tokens_per_usd: float  # output tokens


def token_cost(point: ServingPoint, lengths: Lengths, usd_per_chip_hour: float) -> TokenCost:
    """Return what tokens cost: the replica's price a second, split by the time prefill and decode take.

    in = price x prefill share / prompt tokens a second; out = price x rest / output tokens a second.

    >>> from polysilicon.model.layout import Layout
    >>> p = ServingPoint("", "m", "c", Layout(tp=2), 8, 1, 1, 500.0, 1.0, 0, 0, 0, 0, 0, "assumed", 0.1, prefill_frac=0.25)
    >>> c = token_cost(p, Lengths(1000, 1000), 3.6)  # two chips at 0.001 $/s
    >>> round(c.usd_per_mtok_in, 6), round(c.usd_per_mtok_out, 6), round(c.usd_per_mtok_blended, 6)
    (0.5, 1.5, 1.0)
    """
    usd_per_s = point.chips * usd_per_chip_hour / SECONDS_PER_HOUR
    prompt_per_s = point.requests_per_s * max(1.0, lengths.isl_tokens * (1.0 - lengths.cached_frac))
    output_per_s = point.requests_per_s * lengths.osl_tokens
    return TokenCost(
        usd_per_mtok_in=usd_per_s * point.prefill_frac / prompt_per_s * TOKENS_PER_MTOK,
        usd_per_mtok_out=usd_per_s * (1.0 - point.prefill_frac) / output_per_s * TOKENS_PER_MTOK,
        usd_per_mtok_blended=usd_per_s / (point.requests_per_s * (lengths.isl_tokens + lengths.osl_tokens)) * TOKENS_PER_MTOK,
        tokens_per_usd=output_per_s / usd_per_s if usd_per_s else float("inf"),
    )


def users_per_rack(point: ServingPoint, rack_chips: int) -> int:
    """Return how many users decode at once in a rack of whole replicas at this point.

    >>> from polysilicon.model.layout import Layout
    >>> users_per_rack(ServingPoint("", "m", "c", Layout(tp=8), 40, 1, 1, 1, 1, 0, 0, 0, 0, 0, "assumed", 0.1), 72)
    360
    """
    return point.batch * (rack_chips // point.chips)


@dataclass(frozen=True, slots=True)
class Swing:
    """How the cost per output token moves when one field of a chip falls or rises by a share; price held."""

    field: str
    low_cost_ratio: float  # cost with the field lowered, over cost as it is; inf where the model no longer fits
    high_cost_ratio: float

    @property
    def width_ratio(self) -> float:
        """Return how far the cost swings."""
        return abs(self.low_cost_ratio - self.high_cost_ratio)


def what_if(chip: Chip, field: str, factor: float) -> Chip:
    """Return a hypothetical chip with one field scaled; math rates scale in every precision."""
    if field == "dense_tflop_per_s":
        return replace(chip, dense_tflop_per_s={p: r * factor for p, r in chip.dense_tflop_per_s.items()})
    value = getattr(chip, field)
    return chip if value is None else replace(chip, **{field: value * factor})


def tornado(model: Model, chip: Chip, lengths: Lengths, slo: Slo, *, change_frac: float = 0.3) -> list[Swing]:
    """Return what each field of a chip is worth to a workload: relative cost per output token, widest swing first.

    The price of the chip is held, so cost is inversely proportional to tokens per second per chip under the SLO.

    Raises: DoesNotFit when the chip as it is holds no replica or keeps the SLO nowhere.
    """
    base = _speed(model, chip, lengths, slo)
    if base <= 0.0:
        raise DoesNotFit(f"{model.name} on {chip.id} keeps the SLO at no operating point; relax it to compare fields")
    swings = []
    for field in WHAT_IF_FIELDS:
        low, high = (_speed(model, what_if(chip, field, 1.0 + s * change_frac), lengths, slo) for s in (-1.0, 1.0))
        swings.append(Swing(field, base / low if low else float("inf"), base / high if high else float("inf")))
    return sorted(swings, key=lambda s: -s.width_ratio)


def _speed(model: Model, chip: Chip, lengths: Lengths, slo: Slo) -> float:
    """Return the most output tokens/s per chip that keep the SLO, or 0."""
    try:
        point = best(model, chip, lengths, slo)
    except DoesNotFit:
        return 0.0
    return point.tok_per_s_per_chip if point else 0.0
