"""Proofs that expire: got from where they are issued, kept in memory, renewed ahead of their end."""

from polysilicon.gateway.credentials.renewed import Fetched, Renewed, renewed

__all__ = ["Fetched", "Renewed", "renewed"]
