"""The roofline: what work costs in seconds, with the bounds no machine beats and no sane machine exceeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import MissingFact
from polysilicon.silicon.chip import Chip
from polysilicon.silicon.elementwise import larger, smaller
from polysilicon.units import BYTES_PER_GB, FLOP_PER_TFLOP

Value = TypeVar("Value", float, NDArray[np.float64])
WEIGHT_ONLY = "bf16"  # math of a precision the chip has no units for: weights are expanded on the way to the multiplier


@dataclass(frozen=True, slots=True)
class Work:
    """What a computation does on one chip: arithmetic, memory traffic, wire traffic, messages."""

    flop: float = 0.0
    hbm_bytes: float = 0.0
    wire_bytes: float = 0.0
    messages: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.flop + other.flop, self.hbm_bytes + other.hbm_bytes,
            self.wire_bytes + other.wire_bytes, self.messages + other.messages,
        )  # fmt: skip

    def shared_by(self, chips: float) -> Work:
        """Return one chip's share of arithmetic and memory traffic spread evenly over chips.

        >>> Work(flop=8.0, hbm_bytes=400e9).shared_by(5).hbm_bytes
        80000000000.0
        """
        return Work(self.flop / chips, self.hbm_bytes / chips, self.wire_bytes, self.messages)


def math_precision(chip: Chip, precision: str) -> tuple[str, str]:
    """Return the precision the chip multiplies in, and a note when that is not the precision of the weights.

    A chip without units for a precision, or with fewer than for 16 bits, keeps the small weights in memory and multiplies
    in bf16 (weight-only); one for which no bf16 rate is known uses the next rate that is.

    Raises: MissingFact when no rate at all is known.

    >>> h100 = Chip("H100", "H100", "Nvidia", "cuda-hopper", dense_tflop_per_s={"fp8": 1978.0, "bf16": 989.0})
    >>> math_precision(h100, "fp4")
    ('bf16', 'H100 has no fp4 math: weights stay fp4, math runs in bf16')
    """
    rates = chip.dense_tflop_per_s
    name = {"fp16": "bf16", "fp32": "bf16"}.get(precision, precision)
    if name in rates and rates[name] >= rates.get(WEIGHT_ONLY, 0.0):
        return name, ""
    for other in (WEIGHT_ONLY, "fp8", "int8", "fp4"):
        if other in rates:
            return other, f"{chip.id} has no {precision} math: weights stay {precision}, math runs in {other}"
    raise MissingFact(chip.id, "dense_tflop_per_s", needed_for="the arithmetic of a step")


def memory_s(hbm_bytes: Value, hbm_gb_per_s: float, efficiency_frac: float = 1.0) -> Value:
    """Return the seconds that reading bytes takes: bytes / (bandwidth x efficiency).

    >>> round(memory_s(400e9, 3350.0) * 1e3, 1)  # 400 GB of KV on one H100
    119.4
    >>> round(memory_s(400e9, 8000.0) * 1e3, 1)  # on one GB200 GPU
    50.0
    >>> round(memory_s(Work(hbm_bytes=400e9).shared_by(5).hbm_bytes, 3350.0) * 1e3)  # sharded over five H100
    24
    """
    return hbm_bytes / (hbm_gb_per_s * BYTES_PER_GB * efficiency_frac)


def math_s(flop: Value, tflop_per_s: float, efficiency_frac: float = 1.0) -> Value:
    """Return the seconds that arithmetic takes: flop / (dense peak x efficiency).

    >>> math_s(1978e12, 1978.0, 0.5)
    2.0
    """
    return flop / (tflop_per_s * FLOP_PER_TFLOP * efficiency_frac)


def lower_bound_s(work: Work, *, tflop_per_s: float, hbm_gb_per_s: float, link_gb_per_s: float | None = None) -> float:
    """Return the time no chip with these peaks beats: everything overlaps, nothing is lost.

    >>> round(lower_bound_s(Work(flop=1e12, hbm_bytes=400e9), tflop_per_s=989.0, hbm_gb_per_s=3350.0) * 1e3, 1)
    119.4
    """
    times = [math_s(work.flop, tflop_per_s), memory_s(work.hbm_bytes, hbm_gb_per_s)]
    if link_gb_per_s and work.wire_bytes:
        times.append(memory_s(work.wire_bytes, link_gb_per_s))
    return max(times)


def upper_bound_s(
    work: Work, *, tflop_per_s: float, hbm_gb_per_s: float, link_gb_per_s: float | None = None,
    efficiency_frac: float = 0.1, message_s: float = 100e-6,
) -> float:  # fmt: skip
    """Return the time of a machine that overlaps nothing and reaches a tenth of every peak."""
    wire = memory_s(work.wire_bytes, link_gb_per_s, efficiency_frac) if link_gb_per_s else 0.0
    return (
        math_s(work.flop, tflop_per_s, efficiency_frac) + memory_s(work.hbm_bytes, hbm_gb_per_s, efficiency_frac)
        + wire + work.messages * message_s
    )  # fmt: skip


def smooth_max(a: Any, b: Any, sharpness: Any) -> Any:
    """Return a maximum with a rounded knee: (a^q + b^q)^(1/q), between max(a, b) and a + b.

    Near the ridge a kernel neither computes nor streams at its best; q -> infinity is the textbook roofline.

    >>> round(float(smooth_max(3.0, 4.0, 2.0)), 9)
    5.0
    """
    top = larger(a, b)
    ratio = smaller(a, b) / larger(top, 1e-300)
    return top * (1.0 + ratio**sharpness) ** (1.0 / sharpness)
