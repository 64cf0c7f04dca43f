"""Who is left out of a fit is not seen by it; bands learnt on one half are counted on the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import catalogue
from polysilicon.exchange import coverage, fitting, leaving_out, points
from polysilicon.exchange.calibrate import Fitter, cells

KNOWN = catalogue.load()
HEAD = ("source,model,params_total,params_active,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,metric,value,unit,"
        "where_in_source,backend,date,note")  # fmt: skip


@pytest.fixture(scope="module")
def fitter(tmp_path_factory):
    """48 runs of two models on two chips, with scatter of a tenth."""
    scatter, lines = np.random.default_rng(3), []
    for model in ("Llama-3.1-70B", "Qwen3-32B"):
        for chip in ("H100-SXM", "H200-SXM"):
            for tp in (4, 8):
                for load in (4, 8, 16, 32, 64, 128):
                    for metric, base in (("tpot", 6.0), ("ttft", 50.0)):
                        value = base * (8 / tp) ** 0.6 * load**0.35 * np.exp(0.1 * scatter.standard_normal())
                        lines.append(f"InferenceX,{model},,,fp8,{chip},{tp},TP{tp},1024,1024,{load},{metric},{value:.5g},ms,id={load},vllm,2026-03-01,")
    path = tmp_path_factory.mktemp("runs") / "p.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n")
    runs = fitting.gather(points.read(path), KNOWN)
    cases = [r.case for r in runs]
    families, chips = sorted({c.chip.family for c in cases}), sorted({c.chip.id for c in cases})
    return Fitter(cases, np.array([r.tpot_s for r in runs]), np.array([r.ttft_s for r in runs]), cells(families, chips))


def test_what_is_held_back_moves_nothing(fitter):
    """Change what the held runs measured: the fit of the others, and so every prediction, stays to the bit."""
    rows, held = np.arange(0, 48, 2), np.arange(1, 48, 2)
    before = leaving_out.without(fitter, (rows, held, None))
    kept = fitter.tpot_s.copy()
    fitter.tpot_s[held] *= 3.0
    after = leaving_out.without(fitter, (rows, held, None))
    fitter.tpot_s[:] = kept
    assert np.allclose(before[:, 0] - after[:, 0], np.log(3.0))
    assert np.array_equal(before[:, 1], after[:, 1])


def test_processes_find_what_one_finds(fitter, monkeypatch):
    tasks = [(np.arange(0, 48, 2), np.arange(1, 48, 2), None), (np.arange(1, 48, 2), np.arange(0, 48, 2), None)]
    alone = leaving_out.each(leaving_out.without, fitter, tasks)
    monkeypatch.setattr(leaving_out, "MANY", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    both = leaving_out.each(leaving_out.without, fitter, tasks)
    assert all(np.allclose(a, b, rtol=1e-9) for a, b in zip(alone, both, strict=True))


def test_coverage_is_counted_on_the_other_half(fitter):
    found = coverage.check(fitter, np.ones(48, dtype=bool), seeds=(5, 6))
    assert {(c.seed, c.number) for c in found} <= {(s, n) for s in (5, 6) for n in ("tpot", "ttft")}
    assert all(coverage.LEAST <= c.runs <= 28 and 0.4 <= c.inside_frac <= 1.0 for c in found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 2.0), min_size=5, max_size=80), st.lists(st.floats(0.001, 2.0), min_size=5, max_size=80))
def test_a_band_holds_four_fifths_of_its_own_and_lies_between_chip_and_family(own, mates):
    width = np.log1p(coverage.band(own))
    assert np.mean(np.asarray(own) <= width + 1e-9) >= 0.8
    low, high = sorted((coverage.band(own), coverage.band(mates)))
    assert low * (1 - 1e-9) <= coverage.band_of_chip(own, mates) <= high * (1 + 1e-9)
