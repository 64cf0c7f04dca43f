"""Commands of the live gateway: serve, emulate, live, ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polysilicon.cli.output import number, print_json, print_table, say, write_atomically
from polysilicon.errors import InputError, InputErrors, UsageError

if TYPE_CHECKING:
    from polysilicon.gateway.config import GatewayConfig
    from polysilicon.gateway.ledger import Entry
    from polysilicon.gateway.wiring import Wiring
    from polysilicon.portfolio import Plan


def serve(
    plan: Annotated[Path | None, typer.Argument(help="A plan file of `polysilicon plan`; without one, configured weights.")] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="The gateway's file.")] = Path("gateway.yaml"),
    *,
    port: Annotated[int | None, typer.Option(help="Listen here instead of where the file says.")] = None,
    workers: Annotated[int | None, typer.Option(help="So many processes instead of what the file says.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, explain the routes, serve nothing.")] = False,
    new_key: Annotated[str, typer.Option(help="Make a virtual key with this name, print it once and its entry for the file.")] = "",
    example: Annotated[bool, typer.Option("--example", help="Print a commented gateway file; with a plan, one drafted from it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Route live requests by the plan and the quotes of the moment; keep an exact ledger."""
    if example and plan is not None:
        from polysilicon.gateway.draft import draft

        print(draft(_read_plan(plan)), end="")
        return
    if example:
        from importlib.resources import files

        print((files("polysilicon.gateway") / "gateway.example.yaml").read_text("utf-8"), end="")
        return
    if new_key:
        _new_key(new_key, json=json)
        return
    from polysilicon.gateway import config as gateway_config

    def read() -> tuple[GatewayConfig, Wiring]:
        settings = gateway_config.load(config)
        changes = {name: value for name, value in (("port", port), ("workers", workers)) if value is not None}
        if changes:
            settings = settings.model_copy(update={"listen": settings.listen.model_copy(update=changes)})
        return settings, _wire(settings, config, _read_plan(plan) if plan is not None else None)

    settings, wiring = read()
    if dry_run:
        _explain(settings, wiring, json=json)
        return
    from polysilicon.gateway.serving import run
    from polysilicon.web.live import create

    run(settings, wiring, create, read)


def _read_plan(path: Path) -> Plan:
    from polysilicon.portfolio import read_plan

    return read_plan(path)


def _wire(settings: GatewayConfig, path: Path, plan: Plan | None) -> Wiring:
    from polysilicon.gateway.compile import compile_wiring

    known: tuple[Any, ...] = ()
    if any(not hasattr(s.price, "usd_per_mtok_in") for t in settings.targets for s in t.models.values()):
        from polysilicon.catalogue import load

        known = load().token_prices
    state = Path(settings.state)
    return compile_wiring(settings, plan, prices=known, state=str(state if state.is_absolute() else path.resolve().parent / state))


def _new_key(name: str, *, json: bool) -> None:
    from polysilicon.gateway.controller import new_key as make

    key, digest = make()
    if json:
        print_json({"id": name, "key": key, "sha256": digest})
        return
    say("the key is shown once; only its hash goes into the file:")
    print(key)
    print(f"keys:\n  - id: {name}\n    sha256: {digest}")


def _explain(settings: GatewayConfig, wiring: Wiring, *, json: bool) -> None:
    """Say for each route which variants it has, what they carry and why the others carry nothing."""
    from polysilicon.gateway.compile import on_trial
    from polysilicon.gateway.doors import Door
    from polysilicon.gateway.wiring import first_directive, mix_price

    secrets: list[str] = []
    for target in wiring.targets:
        try:
            Door(target).check()
        except InputError as error:
            secrets.append(str(error))
    capped = on_trial(wiring)
    problems = [*secrets, *map(str, capped)]
    directive = first_directive(wiring)
    rows: list[dict[str, Any]] = []
    for route in wiring.routes:
        for v, weight in zip(route.variants, route.weights, strict=True):
            variant = wiring.variants[v]
            target = wiring.targets[variant.target]
            cap = directive.caps[v]
            why = route.why
            if cap < 1.0:
                gate = "" if variant.gate == "passed" else f", quality gate {variant.gate or 'not passed'}"
                why += f"; at most {cap:.0%}: {variant.stage}{gate}"
            if variant.tariff.provisioned:
                why += "; paid for already, so it comes first"
            rows.append({
                "route": route.id, "target": target.id, "door": target.door, "chip": variant.chip, "cloud": target.cloud,
                "region": target.region, "share": round(weight, 6), "cap": cap, "usd_per_mtok": mix_price(variant.tariff) / 1e9,
                "price": variant.tariff.version, "contract": variant.contract, "why": why,
            })  # fmt: skip
    if json:
        print_json({"plan": wiring.plan_version, "digest": wiring.digest, "routes": rows, "problems": problems, "keys": len(wiring.keys)})
    else:
        columns = ("route", "target", "chip", "share", "cap", "usd_per_mtok", "contract", "why")
        print_table(columns, [[row[c] for c in columns] for row in rows], title=f"Routes of {wiring.plan_version}")
        for problem in secrets:
            say(f"problem: {problem}")
        say(f"{len(wiring.keys)} keys, {len(settings.contracts)} commitments, {len(wiring.budgets)} budgets; nothing is served")
    if secrets:
        raise InputError(f"{len(secrets)} secrets cannot be read", where="gateway", hint="set them before `polysilicon serve`")
    if capped:
        raise InputErrors(capped)


def emulate(
    fleet: Annotated[Path | None, typer.Argument(help="A fleet file; without one, seven doors and two engines on free ports.")] = None,
    *,
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0: when interrupted.")] = 0.0,
    show: Annotated[bool, typer.Option("--show", help="Print the fleet as a file and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the ports as JSON.")] = False,
) -> None:
    """Emulate the seven doors and the engine protocols on loopback, with latencies, limits, faults, usage and prices."""
    from polysilicon.gateway.emulator.files import default_fleet, dump, read_fleet, run

    given = read_fleet(fleet) if fleet is not None else default_fleet()
    if show:
        print(dump(given), end="")
        return

    def ready(ports: dict[str, int]) -> None:
        rows = [{"endpoint": e.id, "door": e.door, "url": f"http://{given.host}:{ports[e.id]}", "models": list(e.models)} for e in given.endpoints]
        if json:
            print_json(rows)
        else:
            print_table(
                ("endpoint", "door", "url", "models"),
                [[r["endpoint"], r["door"], r["url"], ", ".join(r["models"])] for r in rows],
            )

    run(given, ready, seconds)


def live(
    *,
    seconds: Annotated[float, typer.Option(help="How long the story takes.")] = 60.0,
    port: Annotated[int, typer.Option(help="Of the live page; 0: any free one.")] = 8701,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Show one minute of arbitrage on loopback: a price shock, exhausted provisioned throughput, an outage, a new chip's promotion."""
    from polysilicon.gateway.story import tell
    from polysilicon.web.live import create

    outcome = tell(create, seconds=seconds, port=port, say=say)
    if json:
        print_json(outcome)
        return
    print_table(("act", "seen", "share %", "within s"), [[a["act"], a["seen"], a["share_percent"], a["within_s"]] for a in outcome["acts"]],
                title="What happened")  # fmt: skip
    print_table(("chip", "requests", "tokens", "$"), [[k, v["requests"], v["tokens"], v["usd"]] for k, v in outcome["by_chip"].items()])
    say(
        f"{outcome['requests']} requests, {outcome['errors']} errors, ${number(outcome['usd'])}; "
        f"saved ${number(outcome['saved_usd'])} against the others' mean"
    )


ledger = typer.Typer(help="Read the gateway's ledger: sums, FOCUS rows, reconciliation.", no_args_is_help=True)
State = Annotated[Path, typer.Argument(help="The gateway's state folder.")]
SharedLedger = Annotated[str, typer.Option("--shared", help="Read all hosts' lines from PostgreSQL instead: env:NAME or file:/path of its address.")]


def _entries(state: Path, shared: str) -> tuple[list[Entry], int]:
    """Return the ledger's lines and how many were torn: of one host's folder, or of all hosts from their database."""
    if shared:
        from polysilicon.gateway.shared.postgres import read as read_shared

        return read_shared(shared), 0
    from polysilicon.gateway.ledger import read

    return read(state / "ledger")


@ledger.command("show")
def ledger_show(
    state: State = Path("gateway-state"),
    *,
    by: Annotated[str, typer.Option(help="chip, cloud, model, application, team, key, target, contract, stage, kind or outcome.")] = "chip",
    shared: SharedLedger = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sum the ledger by one of its columns."""
    from polysilicon.gateway.ledger import Entry

    if by not in Entry.__struct_fields__:
        raise UsageError(f'"{by}" is not a column of the ledger', hint=f"one of {', '.join(Entry.__struct_fields__)}")
    entries, torn = _entries(state, shared)
    sums: dict[str, list[int]] = {}
    for e in entries:
        row = sums.setdefault(str(getattr(e, by)), [0, 0, 0, 0])
        for i, amount in enumerate((1, e.tokens, e.cost_nano_usd, sum(e.others.values()) // len(e.others) if e.others else e.cost_nano_usd)):
            row[i] += amount
    rows = [{by: k, "lines": v[0], "tokens": v[1], "usd": v[2] / 1e9, "others_mean_usd": v[3] / 1e9} for k, v in sorted(sums.items())]
    if json:
        print_json({"rows": rows, "torn": torn, "entries": len(entries)})
    else:
        print_table((by, "lines", "tokens", "usd", "others_mean_usd"), [list(r.values()) for r in rows])
        if torn:
            say(f"{torn} lines were torn by a crash and are left out")


@ledger.command("focus")
def ledger_focus(
    state: State = Path("gateway-state"),
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the CSV files.")] = Path("focus"),
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The gateway's file, for its commitments.")] = None,
    shared: SharedLedger = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export FOCUS 1.4: cost and usage, contract commitments."""
    import time

    from polysilicon.gateway.focus import commitment_rows, cost_rows, to_csv

    entries, _ = _entries(state, shared)
    rows = cost_rows(entries)
    write_atomically(out / "cost_and_usage.csv", to_csv(rows))
    commitments = []
    if config is not None:
        from polysilicon.gateway.config import load
        from polysilicon.gateway.controller import contract_of

        settings = load(config)
        drawn: dict[str, float] = {}
        for e in entries:
            drawn[e.contract] = drawn.get(e.contract, 0.0) + e.cost_nano_usd / 1e9
        bound = [t for t in settings.targets if t.contract]
        commitments = commitment_rows(
            [contract_of(c) for c in settings.contracts], drawn, on=time.strftime("%Y-%m-%d", time.gmtime()),
            resources={c.id: [f"{m}@{t.id}" for t in bound if t.contract == c.id for m in t.models] for c in settings.contracts},
            discount_frac={t.contract: t.discount_frac for t in bound},
        )  # fmt: skip
        write_atomically(out / "contract_commitments.csv", to_csv(commitments))
    if json:
        print_json({"cost_rows": len(rows), "commitments": len(commitments), "folder": str(out)})
    else:
        print_table(
            ("file", "rows"),
            [[str(out / "cost_and_usage.csv"), len(rows)], [str(out / "contract_commitments.csv"), len(commitments)]],
        )


@ledger.command("parquet")
def ledger_parquet(
    state: State = Path("gateway-state"),
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .parquet or .sqlite file.")] = Path("ledger.parquet"),
    shared: SharedLedger = "",
) -> None:
    """Write the ledger as one Parquet or SQLite table."""
    from polysilicon.gateway.archive import write

    entries, torn = _entries(state, shared)
    write(entries, out)
    say(f"{len(entries)} lines in {out}; {torn} torn by a crash are left out")


@ledger.command("reconcile")
def ledger_reconcile(
    bill: Annotated[Path, typer.Argument(help="CSV with target, model, day, usd, tokens; or a provider's FOCUS export.")],
    state: Annotated[Path, typer.Option(help="The gateway's state folder.")] = Path("gateway-state"),
    *,
    tolerance_frac: Annotated[float, typer.Option(help="Smaller differences are not shown.")] = 1e-4,
    unit_usd: Annotated[float, typer.Option(help="What the bill is rounded to, as 0.01 for consumption units.")] = 0.0,
    shared: SharedLedger = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the ledger with a provider's bill; exit 4 where they disagree."""
    import csv

    from polysilicon.errors import PromiseNotKept
    from polysilicon.gateway.focus import BILL_COLUMNS, reconcile

    try:
        reader = csv.DictReader(bill.read_text("utf-8-sig").splitlines())
        rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(bill)) from error
    given = reader.fieldnames or ()
    missing = [c for c in BILL_COLUMNS if c not in given]
    if missing and "ChargePeriodStart" not in given:
        raise InputError(f"the header lacks {', '.join(missing)}", where=f"{bill}:1", hint="or give a provider's FOCUS export")
    found = reconcile(_entries(state, shared)[0], rows, tolerance_frac=tolerance_frac, unit_usd=unit_usd)
    columns = ("target", "model", "day", "ledger_usd", "bill_usd", "difference_usd", "ledger_mtok", "bill_mtok")
    if json:
        print_json([{c: getattr(d, c) for c in columns} for d in found])
    else:
        print_table(columns, [[getattr(d, c) for c in columns] for d in found])
    if found:
        raise PromiseNotKept(f"the ledger and the bill disagree in {len(found)} places", where=str(bill))


def export(
    plan: Annotated[Path, typer.Argument(help="A plan file.")],
    to: Annotated[str, typer.Option(help="litellm, httproute, llm-d, openrouter, haproxy, kserve, vllm-stack or skypilot.")],
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write here instead of to stdout.")] = None,
    period: Annotated[int, typer.Option(help="Which period's placements.")] = 0,
    name: Annotated[list[str] | None, typer.Option(help="KEY=VALUE: what the platform calls a model or a chip. May be repeated.")] = None,
) -> None:
    """Write a plan's weights for a gateway you already run."""
    from polysilicon.catalogue import load
    from polysilicon.exchange.compilers import DEPLOYED, compile_plan
    from polysilicon.portfolio import read_plan

    names = dict(text.partition("=")[::2] for text in name or ())
    if not all(names.values()):
        raise UsageError("--name is KEY=VALUE, as in --name gb200=nvidia.com/gpu")
    text = compile_plan(read_plan(plan), to, period=period, catalogue=load() if to in DEPLOYED else None, names=names)
    if out is None:
        print(text, end="")
    else:
        write_atomically(out, text.encode())
        say(f"written to {out}")
