"""A small formula language that can be handed to strangers.

    formula  = sum [ ".." sum ]                    a value, or a range from low to high
    sum      = term { (+|-) term }                 with < > <= >= below it, giving 1 or 0
    term     = factor { (*|/) factor }
    factor   = - factor | atom [ ** factor ]
    atom     = number [ "[" unit "]" ] | name | function(...) | ( formula without a range )
             | catalogue.SUBJECT.PARAMETER         the only world outside the formula

Numbers, names given by the caller, eleven functions and the catalogue: there is no attribute, no subscript, no import and
no loop to write. Length, depth and exponents are bounded; overflow, division by zero and mixed units are errors with a place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from polysilicon.economics.quantity import COUNTS, SOFT, Dimensions, Quantity, describe, quantity
from polysilicon.errors import InputError, did_you_mean

MAX_LENGTH, MAX_TOKENS, MAX_DEPTH, MAX_EXPONENT = 2000, 300, 40, 64

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.(?!\.)\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)
      | (?P<reference>catalogue\.(?:"[^"\n]{1,160}"|[A-Za-z0-9][A-Za-z0-9_@-]*(?:\.\d[A-Za-z0-9_@-]*)*)\.[A-Za-z][A-Za-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<unit>\[[^\]\n]{1,40}\])
      | (?P<op>\*\*|\.\.|<=|>=|[-+*/()<>,])""",
    re.VERBOSE,
)

_REFERENCE = re.compile(
    r'catalogue\.(?:"(?P<quoted>[^"]+)"|(?P<subject>[A-Za-z0-9][A-Za-z0-9_@-]*(?:\.\d[A-Za-z0-9_@-]*)*))'
    r"\.(?P<parameter>[A-Za-z][A-Za-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a formula and where it stands (0-based)."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Node:
    """A parsed piece: its operation, its parts and where it stands."""

    kind: str  # number, name, reference, call, negate, binary
    text: str
    at: int
    parts: tuple[Node, ...] = ()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula: one value, or a range."""

    text: str
    low: Node
    high: Node | None
    where: str = ""

    def names(self) -> tuple[str, ...]:
        """Return the names it uses, in order of first use."""
        found: dict[str, None] = {}
        for node in (self.low, *([self.high] if self.high else [])):
            found.update(dict.fromkeys(n.text for n in walk(node) if n.kind == "name"))
        return tuple(found)

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the catalogue references it uses."""
        nodes = (self.low, *([self.high] if self.high else []))
        return tuple(dict.fromkeys(split_reference(n.text) for root in nodes for n in walk(root) if n.kind == "reference"))


Lookup = Callable[[str], Quantity]
Reference = Callable[[str, str], Quantity]


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and everything below it."""
    yield node
    for part in node.parts:
        yield from walk(part)


def split_reference(text: str) -> tuple[str, str]:
    """Return subject and parameter of `catalogue.SUBJECT.PARAMETER`.

    >>> split_reference("catalogue.llama-3.1-405b.total_params")
    ('llama-3.1-405b', 'total_params')
    >>> split_reference("catalogue.h100-sxm.dense_tflop_per_s.fp8")
    ('h100-sxm', 'dense_tflop_per_s.fp8')
    """
    match = _REFERENCE.fullmatch(text)
    assert match is not None, text  # the tokenizer's pattern is the same
    return match["quoted"] or match["subject"], match["parameter"]


def parse(text: str, *, where: str = "") -> Formula:
    """Return a parsed formula.

    >>> parse("a / (1 + b) .. a").names()
    ('a', 'b')

    Raises: InputError with the character where it stops making sense.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"a formula has {len(text)} characters; {MAX_LENGTH} are allowed", where=where)
    parser = _Parser(text, where)
    low = parser.comparison(0)
    high = parser.comparison(0) if parser.take("..") else None
    if parser.peek().kind != "end":
        raise parser.error(f'"{parser.peek().text}" is not expected here')
    return Formula(text, low, high, where)


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.next = text, where, 0
        self.tokens = list(self._tokens())
        if len(self.tokens) > MAX_TOKENS:
            raise InputError(f"a formula has {len(self.tokens)} words; {MAX_TOKENS} are allowed", where=where)

    def _tokens(self) -> Iterator[Token]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise fault(f'"{self.text[at]}" has no meaning in a formula', self.text, at, self.where)
            if match.lastgroup != "space":
                yield Token(str(match.lastgroup), match.group(), at)
            at = match.end()
        yield Token("end", "", len(self.text))

    def peek(self) -> Token:
        return self.tokens[self.next]

    def take(self, *texts: str) -> Token | None:
        token = self.peek()
        if token.kind == "op" and token.text in texts:
            self.next += 1
            return token
        return None

    def error(self, message: str) -> InputError:
        return fault(message, self.text, self.peek().at, self.where)

    def comparison(self, depth: int) -> Node:
        left = self.sum(depth)
        op = self.take("<", ">", "<=", ">=")
        return left if op is None else Node("binary", op.text, op.at, (left, self.sum(depth)))

    def sum(self, depth: int) -> Node:
        left = self.term(depth)
        while op := self.take("+", "-"):
            left = Node("binary", op.text, op.at, (left, self.term(depth)))
        return left

    def term(self, depth: int) -> Node:
        left = self.factor(depth)
        while op := self.take("*", "/"):
            left = Node("binary", op.text, op.at, (left, self.factor(depth)))
        return left

    def factor(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        if op := self.take("-"):
            return Node("negate", "-", op.at, (self.factor(depth + 1),))
        base = self.atom(depth + 1)
        if op := self.take("**"):
            return Node("binary", "**", op.at, (base, self.factor(depth + 1)))
        return base

    def atom(self, depth: int) -> Node:
        token = self.peek()
        if self.take("("):
            inside = self.comparison(depth)
            if not self.take(")"):
                raise self.error('a ")" is missing')
            return inside
        if token.kind not in ("number", "name", "reference"):
            raise self.error(f'a number, a name or "(" is expected, not "{token.text or "the end"}"')
        self.next += 1
        if token.kind == "number":
            unit = ""
            if self.peek().kind == "unit":
                unit = self.peek().text[1:-1]
                self.next += 1
            return Node("number", token.text, token.at, unit=unit)
        if token.kind == "name" and self.peek().text == "(":
            return self.call(token, depth)
        return Node(token.kind, token.text, token.at)

    def call(self, token: Token, depth: int) -> Node:
        if token.text not in FUNCTIONS:
            raise fault(f'"{token.text}" is not a function', self.text, token.at, self.where, hint=f"functions: {', '.join(FUNCTIONS)}")
        self.take("(")
        arguments = [self.comparison(depth)]
        while self.take(","):
            arguments.append(self.comparison(depth))
        if not self.take(")"):
            raise self.error('a ")" is missing')
        least, most = FUNCTIONS[token.text]
        if not least <= len(arguments) <= most:
            raise fault(f"{token.text} takes {least}{f' to {most}' if most > least else ''} values", self.text, token.at, self.where)
        return Node("call", token.text, token.at, tuple(arguments))


def fault(message: str, text: str, at: int, where: str, *, hint: str = "") -> InputError:
    """Return an error that names the character of a formula."""
    shown = text if len(text) <= 120 else f"{text[:117]}..."
    return InputError(f'formula "{shown}", character {at + 1}: {message}', where=where, hint=hint)


FUNCTIONS: dict[str, tuple[int, int]] = {
    "min": (1, 20),
    "max": (1, 20),
    "abs": (1, 1),
    "sqrt": (1, 1),
    "log": (1, 1),
    "log10": (1, 1),
    "exp": (1, 1),
    "ceil": (1, 1),
    "floor": (1, 1),
    "round": (1, 1),
    "sum": (1, 20),
}


_OVER_ALL: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max, "sum": math.fsum}
_TO_WHOLE: dict[str, Callable[[float], int]] = {"ceil": math.ceil, "floor": math.floor, "round": round}


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One walk over a parsed formula."""

    formula: Formula
    lookup: Lookup
    reference: Reference
    raw: bool

    def fault(self, message: str, node: Node) -> InputError:
        return fault(message, self.formula.text, node.at, self.formula.where)

    def value(self, node: Node) -> Quantity:
        found = self._value(node)
        if not math.isfinite(found.value):
            raise self.fault("the value overflows", node)
        return found

    def _value(self, node: Node) -> Quantity:
        if node.kind == "number":
            return quantity(float(node.text), node.unit or "1", where=self.formula.where, raw=self.raw)
        if node.kind == "name":
            return self.lookup(node.text)
        if node.kind == "reference":
            return self.reference(*split_reference(node.text))
        parts = [self.value(part) for part in node.parts]
        if node.kind == "negate":
            return Quantity(-parts[0].value, parts[0].dims, parts[0].scale_factor)
        return self.call(node, parts) if node.kind == "call" else self.binary(node, *parts)

    def binary(self, node: Node, left: Quantity, right: Quantity) -> Quantity:
        if node.text == "*":
            return left.times(right)
        if node.text == "/":
            if right.value == 0:
                raise self.fault("divides by zero", node)
            return left.times(right, -1)
        if node.text == "**":
            return self.power(node, left, right)
        self.alike(node, "adds" if node.text == "+" else "subtracts" if node.text == "-" else "compares", left, right)
        if node.text in "+-":
            number = left.value + right.value if node.text == "+" else left.value - right.value
            return Quantity(number, left.dims, left.scale_factor)
        a, b = left.value, right.value
        return Quantity(float({"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[node.text]))

    def alike(self, node: Node, verb: str, *values: Quantity) -> None:
        first = values[0]
        for other in values[1:]:
            if not first.same_kind(other):
                a, b = describe(first.dims), describe(other.dims)
                words = f"{verb} {a} and {b}" if first.dims != other.dims else f"{verb} two scales of {a}; convert one of them"
                raise self.fault(f"mixes units: {words}", node)

    def power(self, node: Node, left: Quantity, right: Quantity) -> Quantity:
        if not right.plain or abs(right.value) > MAX_EXPONENT:
            raise self.fault(f"an exponent is a plain number between -{MAX_EXPONENT} and {MAX_EXPONENT}", node)
        if left.value == 0 and right.value < 0:
            raise self.fault("divides by zero", node)
        if left.value < 0 and right.value != int(right.value):
            raise self.fault("a negative number has no real fractional power", node)
        try:
            number = left.value**right.value
        except OverflowError as error:
            raise self.fault("the value overflows", node) from error
        exponent = Fraction(right.value).limit_denominator(1000)
        return Quantity(number, tuple((b, p * exponent) for b, p in left.dims if exponent), left.scale_factor**right.value)

    def call(self, node: Node, parts: list[Quantity]) -> Quantity:
        first, numbers = parts[0], [part.value for part in parts]
        if node.text in ("min", "max", "sum"):
            self.alike(node, "compares" if node.text != "sum" else "adds", *parts)
            return Quantity(_OVER_ALL[node.text](numbers), first.dims, first.scale_factor)
        if node.text == "abs":
            return Quantity(abs(first.value), first.dims, first.scale_factor)
        if node.text == "sqrt":
            return self.power(node, first, Quantity(0.5))
        if node.text in ("ceil", "floor", "round"):
            if first.scale_factor != 1.0 or not _countable(first.dims):
                raise self.fault(f"{node.text} needs a count or a plain number, not {describe(first.dims)}", node)
            return Quantity(float(_TO_WHOLE[node.text](_settle(first.value))), first.dims)
        if not first.plain:
            raise self.fault(f"{node.text} needs a plain number, not {describe(first.dims)}", node)
        if node.text == "exp":
            return Quantity(math.exp(first.value) if first.value < 700 else math.inf)
        if first.value <= 0:
            raise self.fault(f"{node.text} of {first.value:g} does not exist", node)
        return Quantity(math.log(first.value) if node.text == "log" else math.log10(first.value))


def _countable(dims: Dimensions) -> bool:
    return all(base.removeprefix(SOFT) in COUNTS for base, _ in dims)


def _settle(number: float) -> float:
    """Take away the last bits of rounding, so that ceil(400/80) is 5."""
    return round(number, 9) if abs(number) < 1e6 else number


def evaluate(formula: Formula, lookup: Lookup, reference: Reference, *, raw: bool = False) -> tuple[Quantity, Quantity]:
    """Return low and high value of a formula (the same twice where it is not a range).

    >>> evaluate(parse("2 [TB] / 4 [GB]"), dict.__getitem__, lambda s, p: Quantity(0.0))[0].value
    500.0

    Raises: InputError when it divides by zero, overflows, mixes units or uses what does not exist.
    """
    walk_ = _Evaluation(formula, lookup, reference, raw)
    low = walk_.value(formula.low)
    high = walk_.value(formula.high) if formula.high is not None else low
    if not low.same_kind(high):
        raise fault(f"mixes units: a range from {describe(low.dims)} to {describe(high.dims)}", formula.text, 0, formula.where)
    return low, high


def resolve_names(formulas: dict[str, Formula], values: dict[str, Quantity], reference: Reference, *, raw: bool = False) -> Lookup:
    """Return a lookup over given values and named formulas that may use one another.

    Raises: InputError when a name is not known, or names define one another in a circle.
    """
    done: dict[str, Quantity] = dict(values)
    path: list[str] = []

    def lookup(name: str) -> Quantity:
        if name in done:
            return done[name]
        if name not in formulas:
            raise InputError(f'"{name}" is not a premise', hint=did_you_mean(name, [*formulas, *values]))
        if name in path:
            raise InputError(f"premises go in a circle: {' -> '.join([*path[path.index(name) :], name])}", where=formulas[name].where)
        path.append(name)
        done[name] = evaluate(formulas[name], lookup, reference, raw=raw)[0]
        path.pop()
        return done[name]

    return lookup
