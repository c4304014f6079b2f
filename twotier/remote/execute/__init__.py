"""Executors: one round trip on a thread or as a task, with its deadline, its error mapping and its breaker."""
