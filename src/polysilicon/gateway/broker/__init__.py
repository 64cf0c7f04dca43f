"""The broker: once a second, quotes, availability and contract burn-down become prices, a small exact dispatch, and weights.

Weights move only when a move is worth it. Each tick depends on its logged inputs alone, so decisions replay.
"""

from polysilicon.gateway.broker.dispatch import Commitment, Dispatch, dispatch
from polysilicon.gateway.broker.steer import Steer
from polysilicon.gateway.broker.tick import Broker, View, replay

__all__ = ["Broker", "Commitment", "Dispatch", "Steer", "View", "dispatch", "replay"]
