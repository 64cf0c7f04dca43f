"""The command line: one table of verbs; a verb's module is imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from polysilicon.errors import PolysiliconError


class Verb(NamedTuple):
    """Where a command lives and what it says of itself."""

    module: str
    function: str
    help: str


VERBS: dict[str, Verb] = {
    "demo": Verb("polysilicon.cli.study", "demo", "Plan a frontier lab, prove it by replay, write a report."),
    "init": Verb("polysilicon.cli.scenario", "init", "Write a commented starter scenario."),
    "check": Verb("polysilicon.cli.scenario", "check", "Validate a scenario: every error at once, with its place."),
    "plan": Verb("polysilicon.cli.study", "plan", "Plan a scenario, prove it by replay, write a report."),
    "schema": Verb("polysilicon.cli.scenario", "schema", "Print the JSON Schema of scenario files, for editors."),
    "explain": Verb("polysilicon.cli.plan_answers", "explain", "Say what binds in a plan and what would change it."),
    "negotiate": Verb("polysilicon.cli.plan_answers", "negotiate", "Say what each supplier is worth and when to walk away."),
    "compare-offers": Verb("polysilicon.cli.plan_answers", "compare_offers", "Compare two offers or contracts by what the plan costs."),
    "port": Verb("polysilicon.cli.plan_answers", "port", "Say from which gain leaving an engine pays."),
    "stress": Verb("polysilicon.cli.plan_answers", "stress", "Say what outages, slips, price steps and growth cost."),
    "frontier": Verb("polysilicon.cli.plan_answers", "frontier", "Show cost against resilience, concentration, carbon."),
    "hedge": Verb("polysilicon.cli.hedge", "hedge", "Decide before one knows: tails, regret, options."),
    "roll": Verb("polysilicon.cli.roll", "roll", "Plan again every period: what that is worth."),
    "exit-cost": Verb("polysilicon.cli.plan_answers", "exit_cost", "Say what leaving a cloud for good costs."),
    "chips": Verb("polysilicon.cli.catalogue", "chips", "Show chips and systems with sources; compare two."),
    "models": Verb("polysilicon.cli.models", "models", "Show models and their KV bytes; read a config.json."),
    "offers": Verb("polysilicon.cli.catalogue", "offers", "Show what clouds offer, at which price, quoted when."),
    "ports": Verb("polysilicon.cli.catalogue", "ports", "Show which model families run on which chip families."),
    "import": Verb("polysilicon.cli.imports", "app", "Turn public price lists into an overlay file."),
    "catalogue-diff": Verb("polysilicon.cli.catalogue", "catalogue_diff", "Say what changed between two catalogue snapshots."),
    "freshness": Verb("polysilicon.cli.catalogue", "freshness", "Say how old everything is that a plan rests on."),
    "perf": Verb("polysilicon.cli.performance", "perf", "Say what a model on a chip delivers, at what price."),
    "feasible": Verb("polysilicon.cli.feasible", "feasible", "Say whether a promise can be kept, and on which chip."),
    "tornado": Verb("polysilicon.cli.tornado", "tornado", "Say what each field of a chip is worth to a workload."),
    "validate": Verb("polysilicon.cli.accuracy", "validate", "Predict measured points under their protocol; show errors."),
    "calibrate": Verb("polysilicon.cli.accuracy", "calibrate", "Fit the efficiencies to points or a live endpoint."),
    "trace": Verb("polysilicon.cli.trace", "trace", "Describe, convert or generate traffic."),
    "simulate": Verb("polysilicon.cli.simulate", "simulate", "Replay a trace on a fleet or a plan, with outages."),
    "compare": Verb("polysilicon.cli.simulate", "compare", "Set two simulated runs side by side."),
    "serve": Verb("polysilicon.cli.gateway", "serve", "Route live requests by a plan and the moment's quotes."),
    "emulate": Verb("polysilicon.cli.gateway", "emulate", "Emulate seven doors and the engine protocols on loopback."),
    "live": Verb("polysilicon.cli.gateway", "live", "One minute of live arbitrage on loopback, with its page."),
    "ledger": Verb("polysilicon.cli.gateway", "ledger", "Read the gateway's ledger: sums, FOCUS, reconciliation."),
    "export": Verb("polysilicon.cli.gateway", "export", "Write a plan's weights for a gateway you already run."),
    "deal": Verb("polysilicon.cli.deal", "deal", "Show a compute deal from every side."),
    "deals": Verb("polysilicon.cli.deal", "deals", "List public compute deals by comparable units."),
    "diligence": Verb("polysilicon.cli.economics", "diligence", "Write a reviewer's pack of a deal."),
    "tco": Verb("polysilicon.cli.cost", "tco", "Cost of ownership: $ per chip-hour by layer, margins."),
    "prices": Verb("polysilicon.cli.cost", "prices", "Token prices over time: half-lives with bands."),
    "lockin": Verb("polysilicon.cli.economics", "lockin", "Say how bound a buyer is, and what leaving costs."),
    "breakeven": Verb("polysilicon.cli.breakeven", "app", "Closed forms by hand: an app, a chip, a delay, a port."),
    "watch": Verb("polysilicon.cli.economics", "watch", "Say what to watch: due dates, triggers, stale data."),
    "audit": Verb("polysilicon.cli.economics", "audit", "Check public claims: does the arithmetic hold?"),
}  # fmt: skip


def build(verb: str | None) -> typer.Typer:
    """Return the application with the real command for `verb` and a help line for every other."""
    app = typer.Typer(
        name="polysilicon", add_completion=False, no_args_is_help=True, rich_markup_mode=None,
        pretty_exceptions_enable=False, help="Where should the tokens of large language models be served, and on what?",
    )  # fmt: skip

    @app.callback(invoke_without_command=False)
    def root() -> None:
        """Answer one question."""

    for name, entry in VERBS.items():
        command: Callable[..., Any] | typer.Typer = _help_only
        if name == verb:
            command = getattr(importlib.import_module(entry.module), entry.function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=entry.help)
        else:
            app.command(name, help=None if name == verb else entry.help)(command)
    return app


def _help_only() -> None:
    """Stand in for a command that was not called."""


def main() -> None:
    """Run the command line; print expected errors without a traceback and exit with their code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--version"]:
        from polysilicon import __version__

        print(f"polysilicon {__version__}")
        return
    verb = next((a for a in arguments if not a.startswith("-")), None)
    try:
        build(verb if verb in VERBS else None)()
    except PolysiliconError as error:
        print(str(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == 130:  # typer's own answer to Ctrl-C
            print("interrupted; what was done is kept", file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
