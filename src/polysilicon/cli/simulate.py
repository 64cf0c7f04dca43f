"""`polysilicon simulate` and `polysilicon compare`: replay traffic on a fleet; set two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polysilicon.cli.output import print_json, print_table, progress, say, write_atomically
from polysilicon.errors import InputError, PromiseNotKept, UsageError

if TYPE_CHECKING:
    from polysilicon.application.trace import Trace
    from polysilicon.simulator.dynamics import Happenings
    from polysilicon.simulator.fleet import Fleet
    from polysilicon.simulator.metrics import SimulationResult


def simulate(
    fleet: Annotated[Path, typer.Argument(help="A fleet file (YAML), or a plan (JSON).")],
    trace: Annotated[Path, typer.Argument(help="Traffic: any format that `polysilicon trace` reads.")],
    seed: Annotated[int, typer.Option(help="Decides ties; the same seed gives the same bytes.")] = 0,
    speed: Annotated[float, typer.Option(help="Press arrivals together by this factor; 2 is twice the rate.")] = 1.0,
    until: Annotated[float | None, typer.Option(help="Stop at this simulated second.")] = None,
    fail: Annotated[list[str] | None, typer.Option(help="SCOPE:NAME@START[+DURATION] in seconds, as in pool:east@60+30.")] = None,
    price_tape: Annotated[Path | None, typer.Option(help="CSV with at_s, pool, usd_per_chip_hour.")] = None,
    watch: Annotated[str | None, typer.Option(help="POOL#3[@START+DURATION]: the replica drawn by itself, the seconds in trace.json.")] = None,
    workload: Annotated[str | None, typer.Option(help="Whose traffic this is, where the trace does not say.")] = None,
    sort: Annotated[bool, typer.Option("--sort", help="Put the trace in order of arrival first.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder for summary, rows, timeline and a trace to look at.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay a trace on a fleet, event by event, and say what became of every request.

    Exit code 4 when a promise of the fleet file is missed.
    """
    from polysilicon.application.read import read
    from polysilicon.simulator import output, warm
    from polysilicon.simulator import simulate as run
    from polysilicon.simulator.compiled import is_warm
    from polysilicon.simulator.files import parse_outage, parse_watch, read_price_tape

    watched, window_s = parse_watch(watch or "")
    the_fleet, happenings = _fleet(fleet)
    outages = [*happenings.outages, *(parse_outage(words) for words in fail or ())]
    prices = [*happenings.prices, *(read_price_tape(price_tape) if price_tape else ())]
    traffic = _faster(_named(read(trace, sort=sort), workload, the_fleet), speed)
    if "left out" in traffic.source:
        say(f"trace: {traffic.source}")
    sample_s = happenings.sample_s or max(1.0, traffic.span_s / 500)
    happenings = replace(happenings, outages=outages, prices=prices, sample_s=sample_s, watch=watched)
    if not is_warm():
        say("compiling the simulator; this happens once")
        with progress("compiling") as bar:
            warm(bar)
    end_s = until if until is not None else float("inf")
    with progress("simulating") as bar:
        result = run(
            the_fleet, traffic, seed=seed, until_s=end_s, happenings=happenings,
            progress=lambda now: bar(min(1.0, now / max(traffic.span_s, 1e-9)), f"{now:,.0f} s simulated"),
        )  # fmt: skip
    if out is not None:
        for name, content in output.files(result).items():
            write_atomically(out / name, content)
        from polysilicon.report.replay import page

        write_atomically(out / "report.html", page(result, title=f"{trace.name} on {fleet.name}").encode())
        write_atomically(out / "trace.json", output.chrome_trace(result, *(window_s or _busiest_minute(result))))
    if as_json:
        print_json(output.report(result))
    else:
        _print(result)
        if out is not None:
            print(f"run: {out}")
    missed = result.missed()
    if missed:
        raise PromiseNotKept("; ".join(missed), where=str(fleet))


def _fleet(path: Path) -> tuple[Fleet, Happenings]:
    from polysilicon.simulator.dynamics import Happenings
    from polysilicon.simulator.files import read_fleet
    from polysilicon.simulator.fleet import from_plan

    if path.suffix != ".json":
        return read_fleet(path)
    from polysilicon.application.workload import Lengths, Slo, Workload
    from polysilicon.catalogue import load as load_catalogue
    from polysilicon.portfolio import read_plan

    plan = read_plan(path)
    models = {point.workload: point.model for point in plan.points}
    workloads = [Workload(name, model, Slo(), Lengths(1.0, 1.0), 0.0) for name, model in models.items()]
    return from_plan(plan, load_catalogue(), plan.periods[-1].index, workloads=workloads), Happenings()


def _named(traffic: Trace, workload: str | None, fleet: Fleet) -> Trace:
    """Return the trace under a workload name the fleet knows."""
    if workload is None and len(traffic.workload_names) == 1 and traffic.workload_names[0] not in fleet.routes:
        known = sorted(set(fleet.routes) | set(fleet.slos))
        if len(known) > 1:
            raise UsageError(f"the trace does not say whose traffic it is; the fleet knows {', '.join(known)}", where="--workload")
        workload = known[0] if known and known != ["*"] else None
    if workload is None:
        return traffic
    if len(traffic.workload_names) > 1:
        raise UsageError(f"the trace names its own workloads: {', '.join(traffic.workload_names)}", where="--workload")
    return replace(traffic, workload_names=(workload,))


def _faster(traffic: Trace, speed: float) -> Trace:
    if not (speed > 0 and speed < float("inf")):
        raise UsageError(f"speed is {speed}; it must be above 0", where="--speed")
    return replace(traffic, arrival_s=traffic.arrival_s / speed)


def _busiest_minute(result: SimulationResult) -> tuple[float, float]:
    import numpy as np

    minutes = (result.requests["arrival_s"] // 60).astype(np.int64)
    start = 60.0 * int(np.bincount(np.maximum(minutes, 0)).argmax())
    return start, start + 60.0


_LATENCIES = ("ttft_s", "tpot_s", "e2e_s")


def _print(result: SimulationResult) -> None:
    totals = result.totals()
    print(f"{totals['done']:,} of {totals['requests']:,} requests done in {totals['span_s']:,.0f} simulated seconds")
    print(f"{totals['met']:,} kept every promise")
    rows = []
    for name, numbers in result.summary().items():
        cells = [cell for what in _LATENCIES for cell in (numbers[what]["p50"], numbers[what]["p99"])]
        rows.append(
            [
                name,
                numbers["requests"],
                numbers["done"],
                numbers["goodput_rps"],
                *cells,
                numbers["cached_frac"],
                numbers["preemptions"],
            ]
        )
    head = [
        "workload",
        "requests",
        "done",
        "goodput/s",
        *(f"{w[:-2].upper()} s {q}" for w in _LATENCIES for q in ("p50", "p99")),
        "cached",
        "preempted",
    ]
    print_table(head, rows)
    pools = [
        [
            name,
            p["replicas"],
            p["chips"],
            p["busy_frac"],
            p["batch"],
            p["kv_peak_frac"],
            p["itl_s"]["p99"],
            p["bill_usd"],
            p["energy_kwh"],
        ]
        for name, p in result.pools().items()
    ]
    print_table(["pool", "replicas", "chips", "busy", "batch", "KV peak", "ITL s p99", "bill $", "kWh"], pools)
    if totals["kwh_per_mtok_out"]:  # NaN: some chip's power is not public
        known = totals["kwh_per_mtok_out"] == totals["kwh_per_mtok_out"]
        energy = f"{totals['kwh_per_mtok_out']:.3g} kWh" if known else "an unknown energy (a chip's power is not public)"
        print(f"${totals['usd_per_mtok_out']:.4g} and {energy} per million output tokens")
    for name, numbers in result.summary().items():
        for words, count in numbers["refused"].items():
            print(f"{name}: {count:,} {words}")
    for when, words in result.events[:20]:
        print(f"{when:,.1f} s  {words}")


def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder, or its summary.json.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Set two simulated runs side by side: every number, and how much the second differs."""
    a, b = (_flat(_summary(path)) for path in (first, second))
    names = [name for name in a if name in b and _number(a[name]) and _number(b[name])]
    rows = [(name, a[name], b[name], (b[name] - a[name]) / abs(a[name]) if a[name] else None) for name in names]
    if as_json:
        print_json([{"number": n, "first": x, "second": y, "change_frac": c} for n, x, y, c in rows])
        return
    print_table(["number", "first", "second", "change %"], [[n, x, y, "" if c is None else 100 * c] for n, x, y, c in rows if x != y])
    if all(x == y for _, x, y, _ in rows):
        print("the two runs agree in every number")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _summary(path: Path) -> dict[str, Any]:
    file = path / "summary.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file), hint="write one with `polysilicon simulate -o`") from error
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", where=str(file)) from error
    if not isinstance(content, dict) or "totals" not in content:
        raise InputError("is not a run's summary", where=str(file), hint="write one with `polysilicon simulate -o`")
    return {name: content[name] for name in ("totals", "workloads", "pools") if name in content}


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        path = f"{before}{name}"
        flat |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat
