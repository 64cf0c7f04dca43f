"""The emulator: endpoints that speak the seven doors and the engine protocols, with latencies, limits, faults, usage and prices.

Deterministic by its seed, on loopback, for tests, demonstrations and anyone's client. It is no model: it says numbered words.
"""

from polysilicon.gateway.emulator.endpoint import Emulator, Endpoint
from polysilicon.gateway.emulator.fleet import Fault, Fleet, FleetEndpoint, FleetModel, PriceStep

__all__ = ["Emulator", "Endpoint", "Fault", "Fleet", "FleetEndpoint", "FleetModel", "PriceStep"]
