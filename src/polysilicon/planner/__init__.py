"""Planner: decides what to hold and where to serve."""
