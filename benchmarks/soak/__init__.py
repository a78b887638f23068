"""An installation under load for a long time, with writes, cancelled searches and a shard that is killed."""
