"""One estimate asked alone: the table's own number, from memory where it may, an error where nothing fits."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import catalogue
from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit
from polysilicon.model.layout import Layout
from polysilicon.performance import estimate, table

KNOWN = catalogue.load()
PAIRS = (("llama-3.1-70b", "H100"), ("deepseek-r1", "GB200"), ("gpt-oss-120b", "B200"), ("qwen3.5-397b-a17b", "B300"))


@settings(max_examples=20, deadline=None)
@given(
    pair=st.sampled_from(PAIRS), isl=st.integers(1, 60_000), osl=st.integers(1, 8000), quantile=st.sampled_from([0.5, 0.9, 0.99]),
    cached=st.sampled_from([0.0, 0.5, 0.96]),
)  # fmt: skip
def test_it_is_the_tables_own_number(pair, isl, osl, quantile, cached):
    model, chip, lengths = KNOWN.model(pair[0]), KNOWN.chip(pair[1]), Lengths(isl, osl, cached_frac=cached, isl_cv=0.8)
    for point in table(model, chip, lengths, Slo(1e9, 1e9, quantile=quantile))[:10]:
        alone = estimate(model, chip, point.layout, lengths, point.batch, quantile=quantile)
        for name in ("ttft_s", "tpot_s", "requests_per_s", "tok_per_s_per_chip", "w_per_chip", "mfu_frac", "mbu_frac", "prefill_frac"):
            assert getattr(alone, name) == pytest.approx(getattr(point, name), rel=1e-9), name
        assert (alone.kv_tokens, alone.error_frac, alone.source, alone.note) == (point.kv_tokens, point.error_frac, point.source, point.note)


def test_what_does_not_fit_is_said():
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")
    with pytest.raises(DoesNotFit, match="short"):
        estimate(model, chip, Layout("bf16", "bf16", tp=1), Lengths(100, 100), 1)
    with pytest.raises(DoesNotFit, match="sequences hold"):
        estimate(model, chip, Layout("fp8", "fp8", tp=2), Lengths(100_000, 100), 64)
    with pytest.raises(DoesNotFit, match="no steady load"):
        estimate(model, chip, Layout("fp8", "fp8", tp=8), Lengths(30_000, 1), 64)


def test_a_table_that_changes_is_read_again(tmp_path):
    model, chip, layout, lengths = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100"), Layout("fp8", "fp8", tp=8), Lengths(1000, 1000)
    path = tmp_path / "mine.csv"
    head, row = "subject,precision,engine,parameter,value,unit,source,as_of,basis", "h100-sxm,*,*,memory_factor,{},1,me,2026-01-01,measured"
    found = []
    for moment, factor in enumerate((1.0, 0.5)):
        path.write_text(f"{head}\n{row.format(factor)}\n", encoding="utf-8")
        os.utime(path, ns=(moment + 1, moment + 1))
        found.append(estimate(model, chip, layout, lengths, 16, efficiency_path=str(path)).tpot_s)
    assert found[1] > 1.3 * found[0]
