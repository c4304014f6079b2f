"""Redis or Valkey Cluster as the remote tier: slots, the map of who serves them, and commands split by them."""
