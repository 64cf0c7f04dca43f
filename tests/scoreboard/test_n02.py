"""N02: efficiency by model kind and chip (see M07): the same model reaches different shares on different chips."""

from chip_entry import KNOWN

from polysilicon.performance.efficiency import efficiency


def test_chips_and_engines_reach_different_shares():
    hopper, blackwell = efficiency(KNOWN.chip("H100"), "fp8", "vllm"), efficiency(KNOWN.chip("B200"), "fp8", "vllm")
    assert hopper.moe_launch_factor != blackwell.moe_launch_factor
    assert efficiency(KNOWN.chip("H100"), "fp8", "trtllm").step_s != hopper.step_s
