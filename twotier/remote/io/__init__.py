"""Connections: the pool, what goes over one connection within a deadline, and what its failures mean."""
