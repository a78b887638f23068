"""What crosses the wire: statuses, channels, filters, vectors, categories."""
