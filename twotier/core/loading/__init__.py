"""Loads: calling the caller's loader for keys that no tier holds, once, in time, and without flooding the source."""
