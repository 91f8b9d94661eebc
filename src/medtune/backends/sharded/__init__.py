"""A base whose layers are sharded over the processes that train together, by torch's fully_shard (FSDP2)."""
