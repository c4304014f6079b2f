"""Connections: the pool, round trips over one connection within a deadline, and the mapping of failures to errors."""
