"""W09: the age of every price and figure is known, and stale data is warned of."""

import json
from datetime import date

import pytest
from chip_entry import KNOWN
from command import run

from polysilicon.catalogue.freshness import ages, benchmark_warning, stale
from polysilicon.performance import Observation
from polysilicon.performance.efficiency import rows
from polysilicon.study.own import old_measurements


def test_every_price_port_and_figure_has_an_age():
    found = list(ages(KNOWN, today=date(2026, 12, 31)))  # after everything that is known
    assert {a.kind for a in found} == {"offer", "port", "figure", "calibration"}
    assert all(a.age_days is None or a.age_days >= 0 for a in found)


def test_older_is_staler():
    today = date(2026, 11, 22)
    assert len(stale(KNOWN, days=30, today=today)) > len(stale(KNOWN, days=300, today=today))


def test_a_run_warns_on_stderr():
    done = run("offers", "--chip", "H100", "--stale-days", "1")
    assert "more than 1 days ago" in done.stderr
    assert "warning" not in done.stdout


@pytest.mark.parametrize("verb", ["perf", "feasible"])
def test_what_rests_on_prices_and_benchmarks_warns_of_both(verb):
    """On stderr, so that the answer stays as it is; `freshness --stale-days` has every age."""
    done = run(verb, "llama-3.1-8b", "--chip", "H100", "--json")
    assert "offers were quoted more than 180 days ago" in done.stderr
    assert "fitted to measurements more than 180 days old" in done.stderr
    assert "warning" not in done.stdout
    assert json.loads(done.stdout)["rows"]


def test_an_efficiency_is_as_old_as_what_was_measured():
    """Not as the fit: a table made today of last year's runs is a year old."""
    dated = {r["as_of"] for r in rows() if r["basis"] == "calibrated"}
    assert dated
    assert all(day < "2026-11" for day in dated)
    assert benchmark_warning(KNOWN, days=1, today=date(2026, 12, 31)).startswith(f"warning: {len(rows())} of {len(rows())} efficiencies")
    assert benchmark_warning(KNOWN, days=10_000, today=date(2026, 12, 31)) == ""


def test_ones_own_measurements_have_their_age_in_the_report():
    """A point measured long ago is told with its day, and called old."""
    seen = [Observation("m", "c", 1, "fp8", 1, 1, 1, 0.01, as_of=day) for day in ("2026-11-01", "2025-01-01", "")]
    told = old_measurements(seen, today=date(2026, 11, 22))
    assert told == "2 of 3 were measured more than 180 days ago or at no stated time, the oldest 2025-01-01"
    assert old_measurements(seen[:1], today=date(2026, 11, 22)) == ""


def test_a_report_by_source():
    told = json.loads(run("freshness", "--stale-days", "30", "--json").stdout)
    assert {r["kind"] for r in told} == {"offer", "port", "figure", "calibration", "token price"}
    assert sum(r["things"] for r in told if r["kind"] == "offer") == len(KNOWN.offers)
    assert all(0 <= r["stale"] <= r["things"] and r["oldest"] <= r["newest"] for r in told)
