"""I01: one file with all four layers; each layer names the one below, and a missing one is an error with its line."""

import pytest
from copilots import EXAMPLE, KNOWN

from polysilicon.errors import InputErrors
from polysilicon.scenario import load, load_text, resolve


def test_one_file_holds_chip_offer_model_and_application():
    resolved = resolve(load(EXAMPLE, KNOWN), KNOWN)
    application = resolved.workload("m365-copilot")
    assert application.application == "Microsoft 365 Copilot"
    model = resolved.models[application.model]
    assert 7e9 < model.total_params < 9e9
    offer = next(o for o in resolved.offers if o.id == "azure-maia200")
    assert resolved.chips[offer.chip].all_in_w == 1150
    assert resolved.chips[offer.chip].facts["all_in_w"].basis == "assumed"


@pytest.mark.parametrize(
    ("layer", "there", "gone"),
    [
        ("silicon", "chip: maia-200,", "chip: maia-900,"),
        ("cloud", "like: azure-centralus-maia-200-quote-only", "like: azure-centralus-maia-900-quote-only"),
        ("model", "model: gpt-oss-120b", "model: gpt-oss-999b"),
        ("model file", "models/office-8b/config.json", "models/office-9b/config.json"),
        ("application", "eligible", "eligible"),
    ],
)
def test_a_layer_that_is_gone_is_named_with_its_line(layer, there, gone):
    text = EXAMPLE.read_text()
    if layer == "application":  # a contract's scope names the models of the applications above it
        there, gone = 'scope: {models: ["*"]', 'scope: {models: ["office-of-nobody"]'
    assert there in text
    broken = text.replace(there, gone, 1)
    with pytest.raises(InputErrors) as caught:
        load_text(broken, str(EXAMPLE), KNOWN)
    line = broken[: broken.index(gone)].count("\n") + 1
    missing = gone.split()[-1].strip(',"[]')
    assert any(f"copilots.yaml:{line}:" in str(p) and missing.split("/")[-1][:12] in str(p) for p in caught.value.problems), str(caught.value)
