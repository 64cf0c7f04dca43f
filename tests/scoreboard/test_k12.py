"""K12: a chip that only its own cloud sells is refused elsewhere."""

import pytest

from polysilicon.catalogue import load
from polysilicon.errors import InputErrors


@pytest.mark.parametrize(
    ("chip", "cloud", "seller"), [("maia-200", "aws", "azure"), ("trainium2", "gcp", "aws"), ("tpu-v7", "azure", "gcp")]
)
def test_an_offer_outside_its_cloud_is_refused(tmp_path, chip, cloud, seller):
    file = tmp_path / "o.csv"
    file.write_text(
        f"id,cloud,region,chip,kind,usd_per_chip_hour,source,basis\nx,{cloud},somewhere,{chip},on_demand,3,a rumour,press\n"
    )
    with pytest.raises(InputErrors, match=f"sold only by {seller}") as caught:
        load(file)
    assert caught.value.problems[0].where == f"{file}:2:3"
