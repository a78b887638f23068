"""The log of writes: where a write becomes durable and gets its positions."""
