"""Translations between the three dialects; the Messages API is the hub that Chat Completions and Responses both meet.

What has no counterpart is refused by name, never dropped in silence.
"""
