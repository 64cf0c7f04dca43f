"""The smallest scenario file that is right; tests break it one piece at a time."""

MINIMAL = """\
polysilicon: 1
name: test
horizon: {start: 2027-01-01, months: 12}
workloads:
  - id: chat
    model: gpt-oss-120b
    traffic: {profile: chat, mean_rps: 10}
    slo: {ttft_s: 1.0, tpot_s: 0.03}
offers:
  catalogue: false
  own:
    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0}
"""
