"""What may be said about chips, systems, models, offers and the rest: parameters, units, ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Literal, NamedTuple

from polysilicon.errors import InputError, did_you_mean
from polysilicon.facts import BASES
from polysilicon.units import convert

Kind = Literal["number", "count", "text", "date", "words", "truth"]


class Spec(NamedTuple):
    """One parameter: what its value is, in which unit it is kept, and between which bounds it can lie."""

    kind: Kind
    unit: str = ""
    low: float = 0.0
    high: float = math.inf


def _number(unit: str, high: float = math.inf, low: float = 0.0) -> Spec:
    return Spec("number", unit, low, high)


TEXT, DATE, WORDS, TRUTH = Spec("text"), Spec("date"), Spec("words"), Spec("truth")
_COUNT = Spec("count", "", 1, 1e9)
_RATE = _number("TFLOP/s", 1e9)
_WORDS = {"name": TEXT, "aliases": WORDS, "vendor": TEXT}

CHIP: Mapping[str, Spec] = {
    **_WORDS,
    "family": TEXT,
    "process": TEXT,
    "status": TEXT,
    "clouds": TEXT,
    "hbm_type": TEXT,
    "only_cloud": TEXT,
    "native_precisions": WORDS,
    "available_from": DATE,
    "hbm_gb": _number("GB", 1e6),
    "usable_hbm_gb": _number("GB", 1e6),
    "hbm_gb_per_s": _number("GB/s", 1e7),
    "sram_mb": _number("MB", 1e6),
    "scale_up_gb_per_s": _number("GB/s", 1e6),
    "scale_out_gb_per_s": _number("GB/s", 1e6),
    "scale_up_chips": _COUNT,
    "tdp_w": _number("W", 1e5),
    "all_in_w": _number("W", 1e5),
    "cost_usd_per_chip_hour.*": _number("USD/chip-hour", 1e4),
    "dense_tflop_per_s.*": _RATE,
    "sparse_tflop_per_s.*": _RATE,
}

SYSTEM: Mapping[str, Spec] = {
    **_WORDS,
    "chip": TEXT,
    "chips": _COUNT,
    "domains": _COUNT,
    "cpus": _COUNT,
    "racks": _number("", 1e6),
    "cooling": TEXT,
    "available_from": DATE,
    "hbm_gb": _number("GB", 1e10),
    "published_hbm_gb": _number("GB", 1e10),
    "hbm_aggregate_gb_per_s": _number("GB/s", 1e12),
    "scale_up_aggregate_gb_per_s": _number("GB/s", 1e12),
    "published_scale_up_aggregate_gb_per_s": _number("GB/s", 1e12),
    "scale_out_aggregate_gb_per_s": _number("GB/s", 1e12),
    "rack_kw": _number("kW", 1e5),
    "node_kw": _number("kW", 1e5),
    "pod_kw": _number("kW", 1e7),
    "price_low_usd": _number("USD"),
    "price_high_usd": _number("USD"),
    "dense_tflop_per_s.*": _number("TFLOP/s"),
    "sparse_tflop_per_s.*": _number("TFLOP/s"),
}

_CONFIG_WORDS = """
model_type architectures hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
intermediate_size intermediate_size_mlp vocab_size max_position_embeddings tie_word_embeddings torch_dtype dtype
checkpoint_quant quantization_config sliding_window sliding_window_pattern sliding_window_size use_sliding_window
layer_types attention_chunk_size no_rope_layer_interval attention_bias num_experts num_local_experts n_routed_experts
num_experts_per_tok moe_intermediate_size shared_expert_intermediate_size n_shared_experts num_shared_experts
moe_shared_expert_intermediate_size first_k_dense_replace moe_layer_freq decoder_sparse_step interleave_moe_layer_step
mlp_only_layers moe_layers kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim index_n_heads
index_head_dim index_topk sparse_index_topk full_attention_interval linear_num_key_heads linear_num_value_heads
linear_key_head_dim linear_value_head_dim linear_conv_kernel_dim attn_type_list hybrid_layer_pattern
swa_num_attention_heads swa_num_key_value_heads swa_head_dim swa_v_head_dim global_head_dim num_global_key_value_heads
routed_expert_hidden_size moe_latent_size num_nextn_predict_layers attn_output_gate short_conv_kernel_size
mtp_num_hidden_layers num_mtp_modules dense_intermediate_size expert_intermediate_size moe_topk
"""  # the keys of a config.json that say something of an architecture

MODEL: Mapping[str, Spec] = {
    **_WORDS,
    "hf_id": TEXT,
    "unreadable": TEXT,
    "published_total_params": _number("params", 1e15),
    "published_active_params": _number("params", 1e15),
    **dict.fromkeys(_CONFIG_WORDS.split(), TEXT),
}

PROFILE: Mapping[str, Spec] = {
    **_WORDS,
    "architecture": TEXT,
    "stand_in": TEXT,
    "price_model": TEXT,
    "total_params": _number("params", 1e15),
    "active_params": _number("params", 1e15),
    "context_tokens": Spec("count", "", 1, 1e9),
    "measured_tok_per_s": _number("tok/s", 1e6),
    "measured_ttft_s": _number("s", 1e6),
}

SITE: Mapping[str, Spec] = {
    "pue": _number("ratio", 5.0, 1.0),
    "usd_per_kwh": _number("USD/kWh", 10.0),
    "g_co2_per_kwh": _number("g/kWh", 2000.0),
    "usd_per_tonne_co2": _number("USD/t", 1e5),
    "water_l_per_kwh": _number("l/kWh", 100.0),
    "it_mw": _number("MW", 1e6),
    "facility_mw": _number("MW", 1e6),
    "cooling": TEXT,
    "lead_time_months": _number("months", 600),
    "price_usd": _number("USD"),
    "commitment_discount_frac": _number("frac", 1.0),
    "reserved_discount_frac.*": _number("frac", 1.0),
    "spot_over_on_demand_frac.*": _number("frac", 2.0),
}

PRESS: Mapping[str, Spec] = {  # what a comparison in the press says of a chip, kept to be held against the facts
    **dict.fromkeys(("fp4", "fp8", "int8", "bf16"), _RATE),
    "hbm_gb_per_s": _number("GB/s", 1e7),
    "hbm_gb": _number("GB", 1e6),
    "interconnect_gb_per_s": _number("GB/s", 1e6),
    "tdp_w": _number("W", 1e5),
    "dense_params": _number("params", 1e15),
    "moe_params": _number("params", 1e15),
}

OFFER: Mapping[str, Spec] = {
    "cloud": TEXT,
    "region": TEXT,
    "chip": TEXT,
    "kind": TEXT,
    "instance": TEXT,
    "model": TEXT,
    "tags": WORDS,
    "quoted_on": DATE,
    "valid_from": DATE,
    "valid_to": DATE,
    "available_from": DATE,
    "usd_per_chip_hour": _number("USD/chip-hour", 1e4),
    "low_usd_per_chip_hour": _number("USD/chip-hour", 1e4),
    "high_usd_per_chip_hour": _number("USD/chip-hour", 1e4),
    "block_chips": _COUNT,
    "min_term_months": Spec("count", "", 0, 600),
    "max_chips": _number("", 1e9),
    "availability_frac": _number("frac", 1.0),
    "interruptions_per_hour": _number("", 1e3),
    "lead_time_months": _number("months", 600),
    "usd_per_mtok_in": _number("USD/Mtok", 1e5),
    "usd_per_mtok_cached": _number("USD/Mtok", 1e5),
    "usd_per_mtok_out": _number("USD/Mtok", 1e5),
}

PORT: Mapping[str, Spec] = {
    "model": TEXT,
    "model_family": TEXT,
    "chip": TEXT,
    "chip_family": TEXT,
    "engine": TEXT,
    "status": TEXT,
    "evidence": TEXT,
    "detail": TEXT,
    "engineer_months": _number("", 1e5),
    "lead_months": _number("months", 600),
    "cost_usd": _number("USD"),
    "upkeep_usd_per_year": _number("USD"),
    "efficiency_frac": _number("frac", 1.5),
    "initial_efficiency_frac": _number("frac", 1.5),
    "ramp_months": _number("months", 600),
    "max_share_frac": _number("frac", 1.0),
    "quality_gate": TEXT,
}

_USD = _number("USD/Mtok", 1e5)
PRICE: Mapping[str, Spec] = {
    "provider": TEXT,
    "model": TEXT,
    "usd_per_mtok_in": _USD,
    "usd_per_mtok_out": _USD,
    "usd_per_mtok_cached": _USD,
    "usd_per_mtok_cache_write": _USD,
    "usd_per_mtok_cache_write_1h": _USD,
    "usd_per_mtok_batch_in": _USD,
    "usd_per_mtok_batch_out": _USD,
    "long_context_from_tokens": Spec("count", "", 1, 1e9),
    "long_context_usd_per_mtok_in": _USD,
    "long_context_usd_per_mtok_out": _USD,
    "max_input_tokens": Spec("count", "", 1, 1e9),
    "valid_from": DATE,
    "valid_to": DATE,
    "condition": TEXT,
}

SPOT: Mapping[str, Spec] = {
    "cloud": TEXT,
    "zone": TEXT,
    "accelerator": TEXT,
    "chips": _COUNT,
    "nodes": _COUNT,
    "recorded_on": DATE,
    "days": _number("", 1e5),
    "availability_frac": _number("frac", 1.0),
    "mean_up_hours": _number("h"),
    "mean_down_hours": _number("h"),
    "transitions_per_day": _number(""),
}

SCHEMAS: Mapping[str, Mapping[str, Spec]] = {
    "chip": CHIP,
    "system": SYSTEM,
    "model": MODEL,
    "profile": PROFILE,
    "site": SITE,
    "press": PRESS,
    "offer": OFFER,
}

_OWN_UNITS: Mapping[str, Mapping[str, float]] = {  # what no dimension of units.py covers
    "params": {"params": 1.0, "1e9 params": 1e9},
    "MB": {"MiB": 2.0**20 / 1e6},
    "months": {"month": 1.0, "months": 1.0, "years": 12.0},
    "g/kWh": {"g/kWh": 1.0, "kg/kWh": 1e3, "kg/MWh": 1.0},
    "l/kWh": {"l/kWh": 1.0},
    "USD/t": {"USD/t": 1.0},
    "tok/s": {"tok/s": 1.0},
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"(\d{4})(-(\d\d)(-(\d\d))?)?")


def spec_of(schema: Mapping[str, Spec], parameter: str) -> Spec | None:
    """Return what is known of a parameter; `.low` and `.high` of a number give its band."""
    found = schema.get(parameter)
    if found is not None:
        return found
    stem, _, leaf = parameter.rpartition(".")
    if leaf in ("low", "high") and stem:
        inner = spec_of(schema, stem)
        return inner if inner is not None and inner.kind in ("number", "count") else None
    return schema.get(f"{stem}.*") if stem and leaf else None


def parse_number(text: str, where: str) -> float:
    """Return a finite number.

    >>> parse_number("3.35e3", "")
    3350.0

    Raises: InputError for anything else, `nan`, `inf` and `1e400` included.
    """
    plain = text.strip()
    if not _NUMBER.fullmatch(plain):
        hint = "write it without thousands separators" if re.fullmatch(r"[+-]?\d{1,3}([,_]\d{3})+(\.\d+)?", plain) else ""
        raise InputError(f'"{text[:40]}" is not a number', where=where, hint=hint)
    value = float(plain)
    if not math.isfinite(value):
        raise InputError(f'"{text[:40]}" is too large to be a number', where=where)
    return value


def parse_value(spec: Spec, parameter: str, text: str, unit: str, where: str = "") -> float | str:
    """Return a value in the unit of its parameter, or a checked word or date.

    >>> parse_value(CHIP["hbm_gb_per_s"], "hbm_gb_per_s", "3.35", "TB/s")
    3350.0
    """
    if spec.kind == "date":
        parse_date(text, where)
        return text.strip()
    if spec.kind in ("text", "words", "truth"):
        return text.strip()
    value = parse_number(text, where)
    if spec.kind == "count":
        if unit not in ("", "1", "chips", "tokens", parameter):
            raise InputError(f'{parameter} is a count, not something in "{unit}"', where=where)
        if value != int(value):
            raise InputError(f"{parameter} is {text}; a whole number is expected", where=where)
    elif unit != spec.unit:
        value = _converted(value, unit, spec.unit, parameter, where)
    if not spec.low <= value <= spec.high:
        raise InputError(
            f"{parameter} is {text} {unit}".rstrip() + f"; allowed is {spec.low:g} to {spec.high:g} {spec.unit}".rstrip(),
            where=where,
        )
    return value


def _converted(value: float, unit: str, to: str, parameter: str, where: str) -> float:
    own = _OWN_UNITS.get(to, {})
    if unit in own:
        return value * own[unit]
    if not unit:
        raise InputError(f"{parameter} has no unit; {to} is expected", where=where)
    if not to or to in ("params", "months", "g/kWh", "l/kWh", "USD/t", "tok/s"):
        raise InputError(
            f'unit "{unit}" does not fit {parameter}; {to or "no unit"} is expected',
            where=where,
            hint=did_you_mean(unit, own) if own else "",
        )
    return convert(value, unit, to, where=where)


def parse_date(text: str, where: str = "") -> date:
    """Return the first day of a year, a month or a day in ISO form.

    >>> parse_date("2025-02")
    datetime.date(2025, 2, 1)
    """
    match = _DATE.fullmatch(text.strip())
    if match:
        try:
            return date(int(match[1]), int(match[3] or 1), int(match[5] or 1))
        except ValueError:
            pass
    raise InputError(f'"{text[:40]}" is not a date; write 2026, 2026-01 or 2026-01-26', where=where)


def check_basis(text: str, where: str = "") -> None:
    """Raise InputError unless the word is one of the bases of facts."""
    if text not in BASES:
        raise InputError(f'basis "{text[:40]}" is not known; allowed: {", ".join(BASES)}', where=where, hint=did_you_mean(text, BASES))
