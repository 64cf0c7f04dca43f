"""The formula language: right numbers, right units, and nothing else within reach."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.economics.expression import evaluate, parse, resolve_names
from polysilicon.economics.quantity import Quantity, parse_unit, quantity
from polysilicon.errors import InputError


def value(text, unit="1", **names):
    held = {name: quantity(*pair) if isinstance(pair, tuple) else Quantity(float(pair)) for name, pair in names.items()}
    low, high = evaluate(parse(text), held.__getitem__, lambda s, p: quantity(186.0, "GB"))
    assert low == high
    return low.to(unit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("7 / 2 / 2", 1.75),
        ("min(3, 1, 2) + max(4, 5)", 6),
        ("sqrt(16) * abs(-2)", 8),
        ("ceil(400 / 80) + floor(2.9) + round(2.4)", 9),
        ("log(exp(2))", 2),
        ("log10(1e3)", 3),
        ("1 + (300 > 30) + (1 >= 2)", 2),
        ("1.5e3 - .5", 1499.5),
        ("- (1 - 3)", 2),
    ],
)
def test_arithmetic(text, expected):
    assert value(text) == pytest.approx(expected)


def test_units_convert_and_cancel():
    assert value("a / b / c", "T tok/month", a=(60, "B$"), b=(5, "yr"), c=(15, "$/Mtok")) == pytest.approx(66.6667, rel=1e-5)
    assert value("a * b", "GW", a=(8333, "rack"), b=(120, "kW/rack")) == pytest.approx(0.99996)
    assert value("1 / a", "GPU-h/$", a=(3, "$/GPU-h")) == pytest.approx(1 / 3)
    assert value("400 [GB] / 3.35 [TB/s]", "ms") == pytest.approx(119.403, abs=1e-3)
    assert value("sqrt(a * a)", "kW", a=(7, "kW")) == pytest.approx(7)
    assert value("catalogue.gb200.hbm_gb * 72", "TB") == pytest.approx(13.392)


def test_a_range_has_two_ends():
    low, high = evaluate(parse("60 .. 2 * 60"), lambda n: Quantity(0.0), lambda s, p: Quantity(0.0))
    assert (low.value, high.value) == (60, 120)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / 0", "divides by zero"),
        ("1 / (2 - 2)", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("1 [GB] + 1 [s]", "mixes units"),
        ("1 [GB] + 1", "mixes units"),
        ("1 [$/chip] + 1 [$/rack]", "mixes units"),
        ("1 [GB] > 1 [W]", "mixes units"),
        ("1 [GB] .. 2 [W]", "mixes units"),
        ("1e308 * 1e308", "overflows"),
        ("exp(10000)", "overflows"),
        ("9 ** 64 ** 64", "exponent"),
        ("(-8) ** 0.5", "no real"),
        ("log(-1)", "does not exist"),
        ("sqrt(-1)", "no real"),
        ("log(2 [GB])", "plain number"),
        ("2 ** (1 [s])", "exponent"),
        ("ceil(1.5 [GB])", "count"),
        ("min(1, 2 [s])", "mixes units"),
        ("__import__('os').system('id')", "no meaning"),
        ("open(1)", "not a function"),
        ("a.b", "no meaning"),
        ("a[0]", "not expected"),
        ("lambda: 1", "no meaning"),
        ("import os", "not expected"),
        ("1; 2", "no meaning"),
        ("", "expected"),
        ("(1", "missing"),
        ("1 +", "expected"),
        ("1 .. 2 .. 3", "not expected"),
        ("max()", "expected"),
        ("sqrt(1, 2)", "takes 1"),
        ("3 [furlong]", "not known"),
        ("(" * 60 + "1" + ")" * 60, "deeper"),
        ("1+" * 400 + "1", "words"),
        ("1" * 3000, "characters"),
        ("catalogue.gb200", "no meaning"),
        ("catalogue", "not a premise"),
        ("x", "not a premise"),
    ],
)
def test_what_cannot_be_says_where(text, words):
    with pytest.raises(InputError, match=words) as caught:
        evaluate(parse(text, where="f.yaml:3:5"), resolve_names({}, {}, lambda s, p: Quantity(1.0)), lambda s, p: Quantity(1.0))
    assert caught.value.where in ("f.yaml:3:5", "")


ALPHABET = st.text("ab01.29+-*/()<>=,[] eE_$%\"'catalogue.minGBkW{}\\:;@", max_size=60)


@settings(max_examples=300, deadline=None)
@given(ALPHABET)
def test_any_text_gives_a_value_or_an_error_of_ours(text):
    try:
        low, high = evaluate(parse(text), resolve_names({}, {"a": Quantity(2.0)}, lambda s, p: Quantity(1.0)), lambda s, p: Quantity(1.0))
    except InputError:
        return
    assert low.value == low.value and abs(high.value) < float("inf")


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0.1, 1e6), st.floats(-1e3, 1e3))
def test_agrees_with_python(a, b, c):
    assert value("(a + c) / b - c * a", a=a, b=b, c=c) == pytest.approx((a + c) / b - c * a, rel=1e-9, abs=1e-9)


def test_premises_in_a_circle_are_named():
    formulas = {"a": parse("b + 1"), "b": parse("c"), "c": parse("a * 2")}
    with pytest.raises(InputError, match="a -> b -> c -> a"):
        resolve_names(formulas, {}, lambda s, p: Quantity(0.0))("a")


@pytest.mark.parametrize(("text", "same"), [("B$/yr", "1000 M$/yr"), ("$/GPU-h", "USD/chip-hour"), ("T tok/month", "1e6 Mtok/month"), ("%", "0")])
def test_units_have_many_spellings(text, same):
    if same == "0":
        assert parse_unit(text).scale_factor == 0.01
        return
    assert parse_unit(text).dims == parse_unit(same).dims and parse_unit(text).scale_factor == pytest.approx(parse_unit(same).scale_factor)
