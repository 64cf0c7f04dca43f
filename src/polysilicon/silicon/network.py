"""Collectives between chips: a latency a message plus bytes over the link (alpha-beta), by scale-up domain.

A group that fits in the scale-up domain uses its links; a larger one crosses the scale-out network, hierarchically.
Ignores: contention between groups and the topology inside a domain (a torus pays more for all-to-all than a switch).
"""

from __future__ import annotations

from typing import NamedTuple

from polysilicon.silicon.elementwise import Number, ceil, choose, larger, log2, smaller

# NVLink SHARP reduces in the switch: each chip sends its data once instead of 2 (n-1)/n times.
# Source: NVIDIA, "NVLink SHARP" (all-reduce bandwidth roughly doubles); off unless asked for, as inference engines
# use their own one-shot kernels for the small messages of a step.
SHARP_FACTOR = 2.0


class Links(NamedTuple):
    """The wires of a chip: rates of one direction, latencies of one collective step, chips of the scale-up domain."""

    scale_up_bytes_per_s: Number
    domain_chips: Number
    scale_out_bytes_per_s: Number = 50e9
    latency_s: Number = 5e-6
    scale_out_latency_s: Number = 20e-6
    sharp_factor: float = 1.0  # SHARP_FACTOR where the switch reduces


def all_reduce_s(message_bytes: Number, chips: Number, links: Links) -> Number:
    """Return the seconds of an all-reduce: alpha log2(n) + 2 (n-1)/n x bytes / link.

    Beyond the domain: reduce-scatter inside, all-reduce of the shards between domains, all-gather inside.

    >>> float(all_reduce_s(450e9, 1, Links(450e9, 8)))
    0.0
    >>> round(float(all_reduce_s(450e9, 8, Links(450e9, 8, latency_s=0.0))), 3)  # 2 x 7/8
    1.75
    >>> round(float(all_reduce_s(450e9, 8, Links(450e9, 8, latency_s=0.0, sharp_factor=2.0))), 3)
    0.875
    """
    size, n = message_bytes, chips
    if isinstance(n, float | int) and n <= 1.0:
        return 0.0
    inside, domains = _split(n, links)
    up = links.scale_up_bytes_per_s
    time = links.latency_s * log2(larger(inside, 1.0)) + 2.0 * (inside - 1.0) / inside * size / (up * links.sharp_factor)
    out = links.scale_out_bytes_per_s
    between = 2.0 * (domains - 1.0) / domains * size / inside / out + links.scale_out_latency_s * log2(domains)
    return choose(n > 1.0, time + choose(domains > 1.0, between, 0.0), 0.0)


def all_to_all_s(message_bytes: Number, chips: Number, links: Links) -> Number:
    """Return the seconds of an all-to-all in which each chip sends `message_bytes` in total: alpha + (n-1)/n x bytes / link.

    Beyond the domain, the share that leaves it goes over the scale-out link of the chip.

    >>> inside = all_to_all_s(1e9, 8, Links(450e9, 8))
    >>> beyond = all_to_all_s(1e9, 16, Links(450e9, 8))
    >>> bool(beyond > 5 * inside)
    True
    """
    size, n = message_bytes, chips
    if isinstance(n, float | int) and n <= 1.0:
        return 0.0
    inside, domains = _split(n, links)
    stays = size * (inside - 1.0) / larger(n, 1.0)
    leaves = size * (n - inside) / larger(n, 1.0)
    up = links.latency_s + stays / (links.scale_up_bytes_per_s)
    out = choose(domains > 1.0, links.scale_out_latency_s + leaves / (links.scale_out_bytes_per_s), 0.0)
    return choose(n > 1.0, larger(up, 0.0) + out, 0.0)


def send_s(message_bytes: Number, links: Links, *, inside_domain: bool = True) -> Number:
    """Return the seconds of a point-to-point message: alpha + bytes / link."""
    rate = links.scale_up_bytes_per_s if inside_domain else links.scale_out_bytes_per_s
    latency = links.latency_s if inside_domain else links.scale_out_latency_s
    return latency + message_bytes / rate


def _split(n: Number, links: Links) -> tuple[Number, Number]:
    """Return chips of a group inside one domain, and how many domains it spans."""
    domain = larger(links.domain_chips, 1.0)
    inside = larger(smaller(n, domain), 1.0)
    return inside, ceil(larger(n, 1.0) / domain)
