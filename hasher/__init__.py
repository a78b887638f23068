"""The hasher: durable, sharded storage and hashed nearest-neighbour search."""
