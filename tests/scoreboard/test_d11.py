"""D11: a deal as a template for other parties."""

import pytest
from audited import example, projected

from polysilicon.economics.projection import project
from polysilicon.economics.rights import recast
from polysilicon.errors import InputError


def test_the_same_roles_with_other_names():
    other = recast(example(), {"anthropic": "mistral", "microsoft": "aws"})
    found = project(other)
    assert found.total(payer="mistral", payee="aws", kind="compute") == projected().total(payer="anthropic", payee="microsoft", kind="compute")
    assert "recast" in other.name and not any("anthropic" in (f.payer, f.payee) for f in found.flows)


def test_unknown_parties_are_named():
    with pytest.raises(InputError, match='"antropic" is not in the deal'):
        recast(example(), {"antropic": "mistral"})
