"""What a group keeps on disk beside its log: keys, transactions over LMDB, checkpoints."""
