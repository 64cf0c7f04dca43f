"""The compiler: numba with a cache that is always writable and never stale.

numba keys its cache on one source file at a time, so a change in a file that a compiled function calls would go
unseen. Here the cache folder's name is a digest of everything that gets compiled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np

from polysilicon import routing

F = TypeVar("F", bound=Callable[..., Any])
_config: Any = numba.config
_njit: Any = numba.njit
_types: Any = numba.types
_KEPT_CACHES = 3
_made: list[str] = []
_entries: list[str] = []
_COMPILED = ("compiled", "state", "view", "trees", "prefix", "spans", "speculation", "engine", "kernel")


def _cache_root() -> Path:
    """Return a folder for compiled code that can be written to, the user's cache where possible."""
    wanted = os.environ.get("POLYSILICON_CACHE_DIR")
    homes = [Path(wanted)] if wanted else []
    homes.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polysilicon")
    homes.append(Path(tempfile.gettempdir()) / f"polysilicon-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    for home in homes:
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(home, os.W_OK):
            return home
    return homes[-1]


def _digest() -> str:
    """Return a digest of all compiled sources and of the compiler."""
    words = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    for name in _COMPILED:
        words.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    words.update(Path(routing.__file__).read_bytes())
    return words.hexdigest()[:16]


def _forget_old_caches(root: Path, current: Path) -> None:
    """Remove compiled code of earlier versions, all but the newest few."""
    try:
        others = sorted((p for p in root.glob("compiled-*") if p != current), key=lambda p: p.stat().st_mtime, reverse=True)
    except OSError:
        return
    for stale in others[_KEPT_CACHES:]:
        shutil.rmtree(stale, ignore_errors=True)


CACHE = _cache_root() / f"compiled-{_digest()}"


def is_warm() -> bool:
    """Return whether compiled code of this version is already on disk."""
    return CACHE.is_dir() and all(any(CACHE.rglob(f"*.{name}-*.nbc")) for name in _entries)


def jit(function: F) -> F:
    """Compile a function that compiled code alone calls: no fast-math, no bounds checks, no GIL, no way in from Python.

    What calls it takes its code in, so nothing of it is kept on disk.
    """
    _made.append(function.__name__)
    compiled = _njit(function, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    narrow = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: narrow(tuple(map(_widest, args)), kws)
    made: F = compiled
    return made


def _widest(kind: Any) -> Any:
    """Return the type an argument is passed as: one for all whole numbers, so that no function is compiled twice."""
    return _types.int64 if isinstance(kind, _types.Integer) and kind.signed else kind


def entry(function: F) -> F:
    """Compile a function that Python calls, on first use, and keep its machine code."""
    _made.append(function.__name__)
    _entries.append(function.__name__)
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(CACHE)
    try:
        compiled: F = _njit(function, cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
    finally:
        _config.CACHE_DIR = before
    return compiled


def functions() -> int:
    """Return how many functions are there to be compiled."""
    return len(_made)


CACHE.mkdir(parents=True, exist_ok=True)
_forget_old_caches(CACHE.parent, CACHE)
pick = jit(routing.pick)
