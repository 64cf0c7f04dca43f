"""`polysilicon models`: parameters, weights, KV cache, token prices; a user's own config.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from polysilicon.cli.catalogue import Json, Overlay

if TYPE_CHECKING:
    from datetime import date

    from polysilicon.catalogue import Catalogue, Profile
    from polysilicon.model.architecture import Model

LONG_CONTEXTS: tuple[int, ...] = (200_000, 1_000_000)


def models(
    name: Annotated[str, typer.Argument(help="A model, or the path of a config.json; all by default.")] = "",
    on: Annotated[str, typer.Option(help="Day of the token prices shown, ISO; today by default.")] = "",
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Show models: parameters, weights by precision, KV bytes a token, KV of 200k and 1M tokens of context, token prices.

    Closed models are profiles: guesses of third parties with a band, and an open model standing in for computation.
    """
    from polysilicon.catalogue import load
    from polysilicon.catalogue.schema import parse_date
    from polysilicon.cli.output import print_json

    day = parse_date(on, "--on") if on else None
    known = load(overlay)
    if name:
        _one_model(known, name, day, json=json)
        return
    rows = [_model_row(m) for m in known.models.values()]
    closed = [_profile_row(known, p, day) for p in known.profiles.values()]
    if json:
        print_json({"models": rows, "profiles": closed})
        return
    _print_models(rows)
    _print_profiles(closed)


def _model_row(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "family": model.family,
        "total_params": model.total_params,
        "active_params": model.active_params,
        "context_tokens": model.context_tokens,
        "native_precision": model.native_precision,
        "weight_gb": {p: model.weight_bytes(p) / 1e9 for p in ("fp4", "fp8", "bf16")},
        "kv_bytes_per_token": {p: model.kv_bytes_per_token(p) for p in ("fp8", "bf16")},
        "kv_gb_at_context": {str(n): model.kv_bytes_per_token("bf16", context_tokens=n) * n / 1e9 for n in LONG_CONTEXTS},
        "assumption": False,
    }


def _print_models(rows: list[dict[str, Any]]) -> None:
    from polysilicon.cli.output import print_table

    columns = (
        "model",
        "family",
        "total B",
        "active B",
        "GB bf16",
        "GB fp8",
        "GB fp4",
        "KV B/token",
        "KV GB at 200k",
        "KV GB at 1M",
        "context",
    )
    lines = []
    for r in rows:
        contexts = [round(r["kv_gb_at_context"][str(n)], 2) for n in LONG_CONTEXTS]
        weights = [r["weight_gb"][p] for p in ("bf16", "fp8", "fp4")]
        lines.append(
            (
                r["id"],
                r["family"],
                r["total_params"] / 1e9,
                r["active_params"] / 1e9,
                *weights,
                int(r["kv_bytes_per_token"]["bf16"]),
                *contexts,
                r["context_tokens"],
            )
        )
    print_table(columns, lines, title="Open models; KV cache in bf16, computed from config.json; contexts beyond the limit are arithmetic")


def _profile_row(known: Catalogue, profile: Profile, day: date | None) -> dict[str, Any]:
    price = known.price(profile.id, on=day)
    conflicts = known.price_conflicts(profile.id, on=day)
    return {
        "id": profile.id,
        "vendor": profile.vendor,
        "assumption": True,
        "architecture": profile.architecture,
        "total_params_band": profile.total_params,
        "active_params_band": profile.active_params,
        "stand_in": profile.stand_in,
        "price": price,
        "price_conflicts": [{"source": c.source, "usd_per_mtok_in": c.usd_per_mtok_in, "usd_per_mtok_out": c.usd_per_mtok_out} for c in conflicts],
    }


def _print_profiles(rows: list[dict[str, Any]]) -> None:
    from polysilicon.cli.output import print_table

    columns = (
        "closed model",
        "vendor",
        "total B (guess)",
        "active B (guess)",
        "computed as",
        "$/Mtok in",
        "cached",
        "out",
        "price as of",
        "price source",
    )
    lines = []
    for r in rows:
        p = r["price"]
        price = (
            (
                p.usd_per_mtok_in,
                p.usd_per_mtok_cached,
                p.usd_per_mtok_out,
                p.valid_from or p.as_of,
                p.source + (" (sources differ)" if r["price_conflicts"] else ""),
            )
            if p
            else (None,) * 5
        )
        lines.append((r["id"], r["vendor"], _band(r["total_params_band"]), _band(r["active_params_band"]), r["stand_in"] or None, *price))
    print_table(
        columns,
        lines,
        title="Closed models: every figure but the price is an assumption (EcoLogits' guesses, no vendor statement)",
    )


def _band(band: tuple[float, float] | None) -> str | None:
    if band is None:
        return None
    low, high = (v / 1e9 for v in band)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _one_model(known: Catalogue, name: str, day: date | None, *, json: bool) -> None:
    from dataclasses import asdict

    from polysilicon.catalogue.configs import looks_like_path
    from polysilicon.cli.output import print_json, print_table

    profile = None if looks_like_path(name) else known.profile(name)
    model = known.model(name)
    facts = list(profile.facts.values()) if profile else [f for (k, s, _), (f, _) in known.content.facts.items() if k == "model" and s == model.id]
    closed = _profile_row(known, profile, day) if profile else None
    row = _model_row(model)
    row["sessions_per_chip"] = _sessions(known, model)
    if json:
        print_json({"model": row, "profile": closed, "facts": [asdict(f) for f in facts]})
        return
    if closed:
        _print_profiles([closed])
    _print_models([row])
    lines = [(chip, *(counts[str(n)] for n in LONG_CONTEXTS)) for chip, counts in row["sessions_per_chip"].items()]
    columns = ("chip", "sessions of 200k", "sessions of 1M")
    print_table(columns, lines, title="Contexts whose KV cache (bf16) fits one chip's memory, weights elsewhere")
    if facts:
        print_table(
            ("parameter", "value", "unit", "basis", "as of", "source", "note"),
            [(f.parameter, str(f.value)[:60], f.unit, f.basis, f.as_of, f.source, f.note) for f in facts],
        )


def _sessions(known: Catalogue, model: Model) -> dict[str, dict[str, int]]:
    """Return how many long contexts' KV caches fit one chip: floor(HBM / (KV bytes a token x context + state))."""
    found = {}
    for chip in known.chips.values():
        if chip.hbm_gb is not None:
            each = {n: model.kv_bytes_per_token("bf16", context_tokens=n) * n + model.state_bytes for n in LONG_CONTEXTS}
            found[chip.id] = {str(n): int(chip.hbm_gb * 1e9 // each[n]) for n in LONG_CONTEXTS}
    return found
