"""Redis Sentinel: the primary that most sentinels name, and connections that lead to it."""
