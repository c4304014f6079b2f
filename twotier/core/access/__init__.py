"""Reads and writes: the flow behind each call on keys that needs no loader."""
