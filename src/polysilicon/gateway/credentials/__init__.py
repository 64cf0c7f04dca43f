"""Proofs that expire: got from where they are issued, kept in memory, renewed ahead of their end."""

from polysilicon.gateway.credentials.keepers import renewed
from polysilicon.gateway.credentials.renewed import Fetched, Renewed

__all__ = ["Fetched", "Renewed", "renewed"]
