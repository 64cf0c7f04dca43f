"""Scenarios so small that a whole study takes a second."""

from __future__ import annotations

TINY = """\
polysilicon: 1
name: tiny
horizon: {start: 2027-01-01, months: 3}
workloads:
  - id: chat
    model: llama-3.1-8b
    traffic: {profile: chat, mean_rps: 60, peak_to_mean_ratio: 1.2}
    slo: {ttft_s: 1.0, tpot_s: 0.03}
offers:
  catalogue: false
  own:
    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0}
study: {proof_requests: 3000, max_rounds: 4}
"""
BUSY = TINY.replace("mean_rps: 60", "mean_rps: 600").replace("tpot_s: 0.03", "tpot_s: 0.03, e2e_s: 1000")
IMPOSSIBLE = TINY.replace("tpot_s: 0.03", "tpot_s: 0.03, e2e_s: 0.1").replace("ttft_s: 1.0", "ttft_s: 0.09").replace("max_rounds: 4", "max_rounds: 2")
TOO_FEW = TINY.replace("usd_per_chip_hour: 3.0", "usd_per_chip_hour: 3.0, max_chips: 0.1")
NOWHERE = TINY.replace("ttft_s: 1.0", "ttft_s: 0.0001")
NIGHTLY = TINY.replace("profile: chat, mean_rps: 60, peak_to_mean_ratio: 1.2", "profile: batch, mean_rps: 60").replace(
    "ttft_s: 1.0, tpot_s: 0.03", "deadline_s: 43200"
)
