"""The MDS's key-value store: the contract (protocol.py) and the embedded implementation (lmdb_store.py)."""
