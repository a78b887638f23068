"""The network: taxonomy (free of torch), backbone and hierarchical head."""
