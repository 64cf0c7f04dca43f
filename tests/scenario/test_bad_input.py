"""Every way a file can be wrong gives its own words at its own place, all at once, and never a traceback."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smallest import MINIMAL

from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario import load, load_text


def problems(text, catalogue):
    with pytest.raises(InputError) as caught:
        load_text(text, "s.yaml", catalogue)
    return list(caught.value.problems) if isinstance(caught.value, InputErrors) else [caught.value]


def only(text, catalogue):
    found = problems(text, catalogue)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


# (what to replace, by what, the piece of text the problem must point at, words that must be in it)
CASES = [
    ("mean_rps: 10", "mean_rps: -3", "-3", "-3 is out of range, it must be more than 0 (requests per second)"),
    ("mean_rps: 10", "mean_rps: .nan", ".nan", ".nan is not a finite number"),
    ("mean_rps: 10", "mean_rps: .inf", ".inf", ".inf is not a finite number"),
    ("mean_rps: 10", "mean_rps: 1e400", "1e400", "1e400 is not a finite number"),
    ("mean_rps: 10", "mean_rps: 3k", "3k", "write 3000: the field is in requests per second"),
    ("ttft_s: 1.0", "ttft_s: 30s", "30s", "write 30: the field is in seconds"),
    ("ttft_s: 1.0", "ttft_s: 500ms", "500ms", "write 0.5: the field is in seconds"),
    ("ttft_s: 1.0", "ttft_s: 5000", "5000", "if you meant milliseconds, write 5"),
    ("tpot_s: 0.03", "tpot_s: 30", "30}", "if you meant milliseconds, write 0.03"),
    ("hour: 3.0", "hour: $3", "$3", "write 3: the field is in dollars per chip-hour"),
    ("months: 12", "months: 12.5", "12.5", "12.5 is not a whole number (months)"),
    ("months: 12", "months: 13", "13}", "13 is not a whole number of periods of a quarter (3 months)"),
    ("2027-01-01", "2027-13-01", "2027-13-01", "is not a date"),
    ("2027-01-01", "2027-01-31", "2027-01-31", "is a day that not every month has"),
    ("gpt-oss-120b", "gpt-oss-120", "gpt-oss-120", 'did you mean "gpt-oss-120b"'),
    ("chip: gb200", "chip: GB30", "GB30", 'did you mean "gb300"'),
    ("profile: chat", "profile: chatt", "chatt", 'did you mean "chat"?'),
    ("slo:", "slos:", "slos:", 'did you mean "slo" or'),
    ("polysilicon: 1", "polysilicon: 2", "2\n", "2 is not one of 1"),
    ("name: test", "name: test\nname: again", "name: again", 'the key "name" is given twice (first in line 2)'),
    ("    slo: {ttft_s: 1.0, tpot_s: 0.03}\n", "", "id: chat", "nothing is promised"),
    ("tpot_s: 0.03", "deadline_s: 60", "60}", "cannot promise latencies as well"),
    ("traffic: {profile: chat,", "traffic: {", "traffic", "nothing says how long its requests are"),
    ("profile: chat,", "trace: nowhere.csv,", "nowhere.csv", '"nowhere.csv" is not a file beside the scenario'),
    ("id: chat", "id: chat\n    regions: [moon]", "moon", 'no offer is in a region that fits "moon"'),
    ("id: chat", "id: chat\n    regions: [asia]", "chat\n    regions", "regions ['asia'] leave 0"),
    ("id: chat", "id: chat\n    clouds: [azur]", "azur]", 'did you mean "azure"?'),
    ("id: chat", "id: chat\n    chips: [tpu-v7]", "chat\n    chips", "of 1 offers, chips ['tpu-v7'] leave 0"),
    ("id: chat", "id: chat\n    tags: [hipaa]", "chat\n    tags", "nothing may serve"),
    ("kind: on_demand, usd_per_chip_hour: 3.0", "kind: quote_only", "offers:", "no offer is left"),
    ("usd_per_chip_hour: 3.0", "note: x", "{id: mine", "so it needs usd_per_chip_hour"),
    ("kind: on_demand", "kind: reserved", "{id: mine", "is reserved, so it needs min_term_months"),
    ("id: mine,", "id: mine, available_from: 2030-01-01,", "2030-01-01", "after the horizon ends on 2028-01-01"),
    ("id: mine,", "id: mine, lead_time_months: 24,", "24,", "outlasts the horizon of 12"),
    ("  catalogue: false", '  catalogue: false\n  include: ["nothing-*"]', '"nothing-*"', 'no offer fits "nothing-*"'),
    ("id: mine,", "id: mine, like: azure-gb20,", "azure-gb20", "which is not in the catalogue"),
    ("name: test", "name: test\noverlay: 3", "3\n", "3 is not text"),
    ("name: test", "name: !!python/object:os.system x", "!!python", "is not allowed here"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "anchor", "words"), CASES, ids=[f"{i}-{(c[1] or 'cut').split()[-1][:16]}" for i, c in enumerate(CASES)])
def test_one_mistake_one_error_at_its_place(old, new, anchor, words, catalogue):
    text = MINIMAL.replace(old, new, 1)
    problem = only(text, catalogue)
    after = max(text.index(new) - 20, 0) if new and anchor in text[text.index(new) :] else 0
    at = text.index(anchor, after)
    line = text.count("\n", 0, at) + 1
    assert words in str(problem), str(problem)
    assert problem.where == f"s.yaml:{line}:{at - text.rfind(chr(10), 0, at)}"


DRAWS = "commit_usd: 100\n    draw_schedule: ["
TIERS = "commit_usd: 100\n    discount_tiers: [{from_usd: 9, discount_frac: 0.1}, {from_usd: 5, discount_frac: 0.2}]"
CONTRACT = """\
contracts:
  - id: c
    cloud: azure
    kind: committed_spend
    start: 2027-01-01
    end: 2028-01-01
    commit_usd: 100
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("end: 2028-01-01", "end: 2026-01-01", "ends 2026-01-01 but starts 2027-01-01"),
        ("start: 2027-01-01\n    end: 2028-01-01", "start: 2020-01-01\n    end: 2021-01-01", "all outside the horizon"),
        ("commit_usd: 100", "exit_fee_usd: 1", "needs commit_usd"),
        ("commit_usd: 100", DRAWS + "{by: 2027-06-01, cumulative_usd: 60}, {by: 2027-09-01, cumulative_usd: 50}]",
         "cumulative_usd falls from 60 to 50"),
        ("commit_usd: 100", DRAWS + "{by: 2027-06-01, cumulative_usd: 160}]", "160 is more than commit_usd 100"),
        ("commit_usd: 100", DRAWS + "{by: 2029-06-01, cumulative_usd: 60}]", "2029-06-01 is outside the contract"),
        ("commit_usd: 100", TIERS,
         "from_usd must rise"),
        ("commit_usd: 100", "commit_usd: 100\n    eligible: [aws-*]", 'no offer fits "aws-*"'),
        ("cloud: azure", "cloud: azurre", 'did you mean "azure"?'),
        ("committed_spend", "capacity_mw", "a capacity_mw contract needs scope"),
        ("committed_spend", "equity_linked", "say what it covers"),
        ("commit_usd: 100", "commit_usd: 100\n    scope: {models: [gpt5], regions: ['*']}", 'no workload uses "gpt5"'),
    ],
)  # fmt: skip
def test_contracts_that_cannot_be(old, new, words, catalogue):
    text = MINIMAL + CONTRACT.replace(old, new, 1)
    assert any(words in str(p) for p in problems(text, catalogue)), [str(p) for p in problems(text, catalogue)]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("workloads", "workloads[1]: \"chat\" is already the id of workloads[0]"),
        ("sites:\n  - {id: a, cloud: azure, region: mars}\n", 'no offer of azure is in "mars"'),
        ("sites:\n  - {id: a, cloud: azure, region: eastus, ramp_mw: [[2028-01-01, 5], [2027-01-01, 9]]}\n", "is not after 2028-01-01"),
        ("ports:\n  - {model_family: gpt-os, chip_family: maia}\n", 'did you mean "gpt-oss"?'),
        ("ports:\n  - {model_family: gpt-oss, chip_family: maia, lead_months: 99}\n", "outlasts the horizon"),
        ("limits: {utilisation_min_frac: 0.9, utilisation_max_frac: 0.5}\n", "is above utilisation_max_frac"),
        ("limits: {budget_usd_per_year: [[2040, 5]]}\n", "2040 is outside the horizon"),
        ("limits: {vendor_share_max_frac: 85}\n", "write 0.85 for 85 %"),
        ("facts: [{chip: gb2000, parameter: tdp_w, value: 1, source: x}]\n", "facts[0].chip"),
    ],
)  # fmt: skip
def test_sections_that_cannot_be(tail, words, catalogue):
    base = MINIMAL
    if tail == "workloads":
        row = base[base.index("  - id: chat") : base.index("offers:")]
        text = base.replace("offers:", row + "offers:", 1)
    else:
        text = base + tail
    assert any(words in str(p) for p in problems(text, catalogue)), [str(p) for p in problems(text, catalogue)]


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(catalogue):
    text = (
        MINIMAL.replace("months: 12", "months: x")
        .replace("mean_rps: 10", "mean_rps: -1")
        .replace("ttft_s: 1.0", "ttft_s: 30s")
        .replace("kind: on_demand", "kind: rented")
    )
    found = problems(text, catalogue)
    assert [p.where for p in found] == ["s.yaml:3:38", "s.yaml:7:40", "s.yaml:8:19", "s.yaml:12:67"]


def test_numbers_that_yaml_cannot_hold_do_not_hide_the_other_mistakes(catalogue):
    text = MINIMAL.replace("mean_rps: 10", "mean_rps: 1e999").replace("ttft_s: 1.0", "ttft_s: -1")
    assert [p.where for p in problems(text, catalogue)] == ["s.yaml:7:40", "s.yaml:8:19"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is not UTF-8 text"),
        (b"a: \x00", "is not valid YAML"),
        (b"a: [1, 2", "cut off"),
        (b"a: 'x", "cut off"),
        (b"a:\n\t- 1\n", "spaces, not tabs"),
        (b"a: b: c\n", "needs quotes"),
        (b"polysilicon: 1\n---\npolysilicon: 1\n", "more than one document"),
        (b"- 1\n- 2\n", "is not a scenario"),
        (b"just words\n", "is not a scenario"),
        (b"a: *nowhere\n", "undefined alias"),
        (b"a: &a [*a]\n", "refer to themselves"),
        (b"a: " + b"[" * 3000, "nested too deeply"),
        (b"a: " + b"{b: " * 200 + b"1" + b"}" * 200, "too deep"),
        (b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n".encode() for i in range(9)), "too large"),
        (b"x" * 4_000_001, "is larger than"),
    ],
    ids=lambda v: v[:20].hex() if isinstance(v, bytes) else v,
)  # fmt: skip
def test_hostile_files(raw, words, tmp_path, catalogue):
    file = tmp_path / "s.yaml"
    file.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        load(file, catalogue)
    assert words in str(caught.value), str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_missing_file_and_folder(tmp_path, catalogue):
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load(path, catalogue)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(MINIMAL)), st.text(max_size=8), st.integers(0, 30))
def test_a_damaged_file_gives_words_never_a_traceback(catalogue, at, junk, cut):
    text = MINIMAL[:at] + junk + MINIMAL[at + cut :]
    try:
        load_text(text, "s.yaml", catalogue)
    except InputError as error:
        assert "s.yaml" in str(error)
