"""Tries a store for real: one small object is put, read back whole and in part, and deleted."""

import secrets

from .protocol import ObjectStore, StoreRefused

PROBE_PREFIX = ".curvefs-probe/"


def check_store(store: ObjectStore) -> None:
    """Put, get and delete a probe object of a random name; none is left behind unless deletion fails.

    Raises what the store raises, and StoreRefused when it returns other bytes than were put.
    """
    key, content = PROBE_PREFIX + secrets.token_hex(16), secrets.token_bytes(64)
    store.put(key, content)
    try:
        if store.get(key) != content or store.get(key, 16, 32) != content[16:48]:
            raise StoreRefused("the object store does not return what was put")
    finally:
        store.delete([key])
