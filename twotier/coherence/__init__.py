"""Coherence: how processes learn that a key has changed."""
