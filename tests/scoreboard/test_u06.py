"""U06: the default scenario is a sensible, documented base case that resolves as it stands."""

from polysilicon import catalogue
from polysilicon.scenario import embedded_text, load_embedded, resolve


def test_the_starter_resolves_and_says_what_each_line_means():
    known = catalogue.load()
    scenario = load_embedded("minimal", known)
    resolved = resolve(scenario, known)
    assert resolved.workloads
    assert resolved.offers
    assert scenario.description
    assert 0 < scenario.workloads[0].growth_per_year_frac <= 1.0  # modest, not a boom
    assert scenario.study.margin_quantile == 0.5
    text = embedded_text("minimal")
    assert sum("#" in line for line in text.splitlines()) >= 10
    assert "yaml-language-server" in text
