"""Executors: one round trip on a thread or as a task, with its deadline, its errors mapped, its breaker told."""
