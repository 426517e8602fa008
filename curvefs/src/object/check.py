"""Tries a store for real: one small object is put, read back and deleted."""

import secrets

from .protocol import ObjectStore, StoreRefused


def check_store(store: ObjectStore) -> None:
    """Put, get and delete a probe object. Raises what the store raises, StoreRefused when it returns other bytes."""
    key, content = f".curvefs-probe/{secrets.token_hex(16)}", secrets.token_bytes(64)
    store.put(key, content)
    try:
        if store.get(key) != content:
            raise StoreRefused("the object store does not return what was put")
    finally:
        store.delete([key])
