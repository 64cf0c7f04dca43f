"""The command-line reference, generated from the commands themselves: `python -m polysilicon.cli.reference > docs/reference/cli.md`."""

from __future__ import annotations

import re
from typing import Any

import typer.main

from polysilicon.cli.app import VERBS, build

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def reference() -> str:
    """Return the whole reference as Markdown."""
    parts = [
        "# Command line\n",
        "Generated from the commands; `python -m polysilicon.cli.reference > docs/reference/cli.md` writes it anew.\n",
        "Exit codes: 0 fine, 1 wrong input, 2 usage, 3 no feasible plan, 4 a promise not kept.\n",
    ]
    for verb in VERBS:
        command: Any = typer.main.get_command(build(verb)).commands[verb]  # type: ignore[attr-defined]
        parts.append(_section(f"polysilicon {verb}", command))
    return "\n".join(parts)


def _section(path: str, command: Any) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    text = f"## {path}\n\n```text\n{_ESCAPE.sub('', command.get_help(context)).rstrip()}\n```\n"
    for name, inner in getattr(command, "commands", {}).items():
        text += "\n" + _section(f"{path} {name}", inner).replace("## ", "### ", 1)
    return text


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "100"
    print(reference(), end="")
