"""How commands speak: tables on stdout, `--json` everywhere, log and progress on stderr."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from polysilicon.errors import InputError

_NUMBER = re.compile(r"|[-–]|[-+]?\$?\d[\d,.]*(%|[KMBT]|x| [A-Za-zµ$]{1,3})?")  # as `report.words` writes it


def print_json(value: Any) -> None:
    """Print one JSON document on stdout. NaN becomes null."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value, enc_hook=_encode), indent=1) + b"\n")
    sys.stdout.buffer.flush()


def _encode(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table on stdout; numbers stand right, words left. Honours NO_COLOR."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i, name in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[i], (int, float)) or row[i] is None or _NUMBER.fullmatch(str(row[i])) for row in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*[Text(_cell(value)) for value in row])
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "200"))
    Console(width=width, highlight=False, no_color="NO_COLOR" in os.environ or None).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return str(value)


def number(value: float) -> str:
    """Return a number with three or four significant digits, the way a person writes it.

    >>> [number(x) for x in (0.0, 0.01234, 3.14159, 1234.5, 2.5e7)]
    ['0', '0.0123', '3.14', '1,234', '25,000,000']
    """
    if value != value:
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 0.001:
        return f"{value:.3g}"
    return f"{value:.2e}"


def say(message: str) -> None:
    """Write one line to stderr."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show progress with an ETA on stderr for anything that takes over two seconds.

    Ctrl-C is remembered: where a library's callback swallows it, the next step of the work ends all the same, and nothing is said of that.
    """
    bar = Progress(label, quiet=quiet)
    before, told = signal.getsignal(signal.SIGINT), sys.unraisablehook
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, bar.interrupt)
        sys.unraisablehook = lambda lost: None if lost.exc_type is KeyboardInterrupt else told(lost)
    try:
        yield bar
        bar.check()
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = told
        bar.close()


class Progress:
    """A callable `progress(done_frac, words)`; on a terminal it redraws one line, elsewhere it prints a line every ten seconds."""

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.label = label
        self.quiet = quiet
        self.began = time.monotonic()
        self.last = self.began
        self.drawn = False
        self.interrupted = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Take Ctrl-C."""
        self.interrupted = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """End the work if it was interrupted."""
        if self.interrupted:
            raise KeyboardInterrupt

    def __call__(self, done_frac: float, words: str = "") -> None:
        """Tell how far the work is, 0..1."""
        self.check()
        now = time.monotonic()
        tty = sys.stderr.isatty()
        if self.quiet or now - self.began < 2.0 or now - self.last < (0.2 if tty else 10.0):
            return
        self.last = now
        left = f", {(now - self.began) * (1 - done_frac) / done_frac:.0f} s left" if 0.02 < done_frac < 1 else ""
        line = f"{self.label}: {done_frac:.0%}{left} {words}".rstrip()
        print(f"\r\x1b[K{line}" if tty else line, end="" if tty else "\n", file=sys.stderr, flush=True)
        self.drawn = tty

    def close(self) -> None:
        """Clear the line."""
        if self.drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
