"""Outages: the journal of writes in doubt, its replay, recovery, and reads from replicas meanwhile."""
