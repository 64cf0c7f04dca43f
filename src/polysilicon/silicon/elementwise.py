"""Arithmetic on a number or on arrays of them: one source of a formula serves a whole grid and a single question alike.

A numpy call on one number costs a microsecond, plain arithmetic a twentieth of it; a formula of three hundred steps asked
for one configuration must not pay that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Number = Any  # a float, or an array


def larger(a: Number, b: Number) -> Any:
    """Return the larger of two numbers, element by element.

    >>> larger(1.0, 2.0), larger(np.array([1.0, 3.0]), 2.0).tolist()
    (2.0, [2.0, 3.0])
    """
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.maximum(a, b)
    return a if a >= b else b


def smaller(a: Number, b: Number) -> Any:
    """Return the smaller of two numbers, element by element."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.minimum(a, b)
    return a if a <= b else b


def choose(condition: Any, yes: Number, no: Number) -> Any:
    """Return `yes` where the condition holds, `no` elsewhere; both are worked out."""
    if isinstance(condition, np.ndarray) or isinstance(yes, np.ndarray) or isinstance(no, np.ndarray):
        return np.where(condition, yes, no)
    return yes if condition else no


def ceil(x: Number) -> Any:
    """Return the next whole number."""
    return np.ceil(x) if isinstance(x, np.ndarray) else float(math.ceil(x))


def log(x: Number) -> Any:
    """Return the natural logarithm."""
    return np.log(x) if isinstance(x, np.ndarray) else math.log(x)


def log2(x: Number) -> Any:
    """Return the logarithm to base 2."""
    return np.log2(x) if isinstance(x, np.ndarray) else math.log2(x)


def root(x: Number) -> Any:
    """Return the square root."""
    return np.sqrt(x) if isinstance(x, np.ndarray) else math.sqrt(x)


def at_least_once(share: Number, times: Number) -> Any:
    """Return 1 - (1 - share)^times without losing small shares: the chance that something happens at all.

    >>> round(at_least_once(0.5, 2.0), 9), round(at_least_once(1e-12, 1.0) * 1e12, 3)
    (0.75, 1.0)
    """
    if isinstance(share, np.ndarray) or isinstance(times, np.ndarray):
        return -np.expm1(times * np.log1p(-share))
    return -math.expm1(times * math.log1p(-share))
