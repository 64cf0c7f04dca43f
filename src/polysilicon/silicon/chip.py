"""Chips and the systems they are sold in, as facts with provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from polysilicon.errors import MissingFact
from polysilicon.facts import Fact

PRECISIONS: tuple[str, ...] = ("fp4", "fp8", "int8", "bf16")
BITS: Mapping[str, int] = {"fp4": 4, "int4": 4, "fp8": 8, "int8": 8, "bf16": 16, "fp16": 16, "fp32": 32}


@dataclass(frozen=True, slots=True)
class Chip:
    """The package a vendor sells and a scheduler sees; not a die, a core or a card.

    Rates are dense and per chip; links count one direction. A fact that is not public is None, and `need` says so.
    """

    id: str
    name: str
    vendor: str
    family: str  # porting target: cuda-ampere, cuda-hopper, cuda-blackwell, cuda-rubin, maia, neuron, tpu, rocm, gaudi, cpu
    hbm_gb: float | None = None
    hbm_gb_per_s: float | None = None
    dense_tflop_per_s: Mapping[str, float] = field(default_factory=dict)  # by precision
    sparse_tflop_per_s: Mapping[str, float] = field(default_factory=dict)  # 2:4 or 4x marketing figures, never used to predict
    scale_up_gb_per_s: float | None = None
    scale_up_chips: int | None = None
    scale_out_gb_per_s: float | None = None
    sram_mb: float | None = None
    tdp_w: float | None = None
    all_in_w: float | None = None  # share of host, switches, fans and conversion at the rack, per chip
    available_from: date | None = None
    process: str = ""
    status: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict, compare=False)  # parameter -> provenance

    def need(self, parameter: str, *, needed_for: str = "") -> float:
        """Return a numeric fact, or raise MissingFact that names it."""
        value = getattr(self, parameter)
        if value is None:
            raise MissingFact(self.id, parameter, needed_for=needed_for)
        return float(value)


@dataclass(frozen=True, slots=True)
class System:
    """Chips as they are bought: a node, a rack, an UltraServer, a pod slice.

    `chips` share one scale-up domain unless `domains` says there are several (nvl576 is eight NVL72 domains).
    """

    id: str
    name: str
    chip: str
    chips: int
    domains: int = 1
    cpus: int | None = None
    hbm_gb: float | None = None
    scale_up_aggregate_gb_per_s: float | None = None  # both directions summed over chips, as vendors print it
    rack_kw: float | None = None
    racks: float | None = None
    cooling: str = ""  # air, liquid, or empty where unknown
    facts: Mapping[str, Fact] = field(default_factory=dict, compare=False)
