"""The page: one HTML file that loads nothing, its Markdown twin, and one chart on its own for another page."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2

from polysilicon.errors import InputError, did_you_mean
from polysilicon.report import contents, figures, sheet, words
from polysilicon.report.evidence import Evidence
from polysilicon.report.names import proper

SHOWN_FRAC = 0.01  # of a workload's tokens: smaller placements are counted on the page, not listed


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the first screen."""

    label: str
    value: str
    note: str = ""


def html(evidence: Evidence) -> str:
    """Return the report as one HTML page; text of the user's is escaped, scripts and styles are inside."""
    drawn = contents.drawn(evidence)
    context = _context(evidence)
    identity = {name: f"c{i}" for i, name in enumerate(drawn)}
    context |= {
        "charts": drawn,
        "css": _safe(_resource("report.css")),
        "runtime": _safe(runtime()),
        "specs": _safe(_json({name: chart.spec for name, chart in drawn.items()})),
        "loop_id": identity.get,
        "burn": [name for name in drawn if name.startswith("burn-down-")],
        "latency": [f"{d.measure}-{d.workload}" for d in evidence.distributions if f"{d.measure}-{d.workload}" in drawn],
        "series": [name for name in drawn if name.startswith("series-")],
        "sections": _sections(context["tables"], drawn, evidence),
        "extra": evidence.sections,
        "plain_words": sheet.words,
        "priced": any(row["revenue_usd"] is not None for row in context["tables"]["margins"].records()) if "margins" in context["tables"] else False,
        "hidden": ("chips_last",) if len(evidence.plan.periods) == 1 else (),
        "glance": figures.at_a_glance(evidence),
        "where": _main_places(context["tables"].get("placements")),
    }
    return _environment(escape=True).get_template("report.html.j2").render(context)


def markdown(evidence: Evidence) -> str:
    """Return the report as Markdown: the same words and the same tables."""
    context = _context(evidence) | {"waterfall": figures.waterfall(evidence.plan), "md": _plain}
    context |= {"extra": evidence.sections, "plain_words": sheet.words}
    for key in ("recommendation", "title", "proof"):
        context[key] = _plain(str(context[key]))
    return _environment(escape=False).get_template("report.md.j2").render(context)


def embed(evidence: Evidence, chart: str) -> str:
    """Return one chart as an HTML page of its own, to be framed by another page.

    Raises: InputError when the report has no such chart.
    """
    drawn = contents.drawn(evidence)
    if chart not in drawn:
        raise InputError(f'the report has no chart "{chart}"', hint=did_you_mean(chart, drawn) or f"it has {', '.join(drawn)}")
    shown = drawn[chart]
    context = {
        "title": shown.title,
        "legend": shown.legend,
        "caption": evidence.title,
        "css": _safe(_resource("report.css")),
        "runtime": _safe(runtime()),
        "spec": _safe(_json(shown.spec)),
        "version": version("polysilicon"),
    }
    return _environment(escape=True).get_template("embed.html.j2").render(context)


@lru_cache(maxsize=1)
def runtime() -> str:
    """Return the charting runtime as one script, some 0.9 MB; it takes about three seconds to bundle, once a process."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;")
    return "(function(){" + bundle + "})();"


def _context(evidence: Evidence) -> dict[str, Any]:
    plan = evidence.plan
    verdict, proof = words.proof(evidence)
    return {
        "title": evidence.title or plan.scenario,
        "recommendation": words.recommendation(evidence),
        "verdict": verdict,
        "proof": proof,
        "facts": _facts(evidence),
        "tables": contents.tables(evidence),
        "warnings": evidence.warnings,
        "notes": plan.notes,
        "cell": words.cell,
        "gap": words.gap(evidence)[:1].upper() + words.gap(evidence)[1:],
        "digest": (plan.scenario_digest[:12], plan.catalogue_digest[:12]),
        "version": version("polysilicon"),
        "made_on": evidence.made_on,
        "command": evidence.command,
        "cost_words": words.cost(evidence),
        "margin_words": words.margin(evidence),
        "energy_words": words.energy(evidence),
        "span": words.horizon(evidence),
    }


def _main_places(table: figures.Table | None) -> figures.Table | None:
    """Return the placements of at least one per cent; the small ones are counted, and stay in the files."""
    if table is None:
        return None
    share = next(i for i, column in enumerate(table.columns) if column.key == "share_frac")
    rows = tuple(row for row in table.rows if float(row[share] or 0.0) >= SHOWN_FRAC)
    left = len(table.rows) - len(rows)
    note = f"{left} placements of under {SHOWN_FRAC:.0%} of a workload's tokens are in the files beside this page." if left else ""
    return replace(table, rows=rows, note=" ".join(filter(None, (table.note, note))))


def _facts(evidence: Evidence) -> list[Fact]:
    plan = evidence.plan
    span, total = figures.years(plan), figures.total_usd(plan)
    served, out = figures.mtok(plan), figures.mtok_out(evidence)
    told = [
        Fact("Cost a year", words.money(total / span), f"{words.money(total)} over {span:.3g} years" if abs(span - 1) > 0.005 else "")
        if span
        else Fact("Cost", words.money(total))
    ]
    if out:
        told.append(Fact("Per million output tokens", words.money(total / out), f"{words.money(total / served)} in and out"))
    elif served:
        told.append(Fact("Per million tokens", words.money(total / served), "in and out"))
    found = figures.saving(evidence)
    if found is not None:
        name, usd, share = found
        told.append(
            Fact("Saves", f"{share:.0%}", f"{words.money(usd)} against {name}, discounted")
            if usd >= 0
            else Fact("Price of its limits", f"{-share:.0%}", f"at most, over {name} costed without caps on shares or whole blocks")
        )
    checked = [d for d in evidence.distributions if d.kept is not None]
    if checked:
        told.append(Fact("Promises kept", f"{sum(bool(d.kept) for d in checked)} of {len(checked)}", "in the replay"))
    tokens = [row for row in figures.concentration(evidence).records() if row["by"] == "cloud" and row["of"] == "dollars"]
    if tokens:
        told.append(Fact("Largest supplier", f"{float(tokens[0]['top_frac'] or 0):.0%}", f"{proper(str(tokens[0]['top']))}, of spending"))
    if plan.unserved_usd > 0:
        told.append(
            Fact(
                "Not served",
                _small(figures.unserved_frac(plan)),
                f"of tokens; priced at {words.money(plan.unserved_usd)}, not a bill",
            )
        )
    return told


def _small(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.3%}" if share >= 1e-5 else "under 0.001%"


def _sections(tables: dict[str, figures.Table], drawn: dict[str, Any], evidence: Evidence) -> list[tuple[str, str]]:
    extra = [(f"x{i}", s.short or s.title, True) for i, s in enumerate(evidence.sections, 1) if not s.under]
    every = (
        ("where", "Where it runs", "placements" in tables),
        ("cost", "Cost", True),
        ("margin", "By application", "margins" in tables),
        ("capacity", "Capacity", "capacity" in drawn or any(n.startswith("burn-down-") for n in drawn)),
        ("proof", "Proof", "promises" in tables),
        ("others", "Alternatives", "alternatives" in tables and len(tables["alternatives"].rows) > 1),
        ("risk", "Concentration", "concentration" in tables),
        ("worth", "Shadow prices", "shadow_prices" in tables),
        ("energy", "Energy", "energy" in tables),
        ("speed", "Speed", "speed" in tables),
        ("routes", "Routes", "routes" in tables),
        ("suppliers", "Suppliers", "suppliers" in tables),
        ("compared", "Offers compared", "comparisons" in tables),
        ("ports", "Ports", "ports" in tables),
        ("stress", "Stress", "shocks" in tables),
        ("frontier", "Frontier", "frontier" in tables),
        ("change", "What would change it", "what_ifs" in tables),
        *extra,
        ("rests", "Assumptions", True),
    )
    return [(key, title) for key, title, shown in every if shown]


def _environment(*, escape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("polysilicon.report", "templates"),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )


def _resource(name: str) -> str:
    return files("polysilicon.report").joinpath("templates", name).read_text("utf-8")


def _json(value: Any) -> str:
    """Return JSON that cannot end the script it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _safe(text: str) -> Any:
    """Mark our own text as not to be escaped; a script's end inside it is broken up."""
    from markupsafe import Markup

    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _plain(text: str) -> str:
    """Return text that stays one cell of a Markdown table and opens no tag or link."""
    out = " ".join(text.split())
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "<", ">"):
        out = out.replace(mark, "\\" + mark)
    return out
