"""The remote tier: Redis or Valkey, through redis-py."""
