"""P03: yearly efficiency gain as a parameter, with the evidence for its range."""

from audited import ROOT, example

from polysilicon.economics.references import number_of, own_facts


def test_range_has_a_source_and_the_parameter_is_told():
    low, high = (number_of("inference-software", f"gain_per_quarter_frac.{end}") for end in ("low", "high"))
    assert (low, high) == (0.04, 0.30)
    assert all(f.source for f in own_facts() if f.subject == "inference-software")
    driver = next(d for d in example().drivers if d.name == "efficiency_gain_frac")
    assert driver.low <= driver.base <= driver.high
    assert "efficiency_gain_frac" in (ROOT / "docs/concepts/deals.md").read_text()
