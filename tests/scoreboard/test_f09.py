"""F09: improvement, demand and price as random; the same seed, the same numbers; a tornado ranks."""

import json

from audited import EXAMPLE, example
from audited import run as command

from polysilicon.economics.uncertainty import run


def test_same_seed_same_numbers_and_drivers_ranked():
    first, second, other = run(example(), draws=128, seed=3), run(example(), draws=128, seed=3), run(example(), draws=128, seed=4)
    assert first == second and first.outcomes != other.outcomes
    bars = first.tornado["microsoft: infrastructure leg, net present value"]
    assert bars[0].driver == "usd_per_chip_hour" and [b.swing for b in bars] == sorted((b.swing for b in bars), reverse=True)


def test_same_bytes_from_the_command_line():
    arguments = ("deal", str(EXAMPLE), "--draws", "64", "--seed", "5", "--json")
    assert command(*arguments).stdout == command(*arguments).stdout
    assert set(json.loads(command("deal", str(EXAMPLE), "--draws", "0", "--json").stdout)["scenarios"]) >= {"base", "bull", "bear", "slow progress"}
