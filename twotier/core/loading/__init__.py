"""Loads: calling the caller's loader for what no tier holds, once, in time, and without flooding the source."""
