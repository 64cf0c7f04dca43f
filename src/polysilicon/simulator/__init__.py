"""Simulator: replays traffic on a fleet, event by event."""
