"""How the embedded store writes keys and events: fixed big-endian structs, values behind them. Format 1; pure."""

import struct

from .protocol import Event, EventKind, KeyValue

_KEY_VALUE = struct.Struct(">QQQQ")  # create revision, mod revision, version, lease
_EVENT = struct.Struct(">BH")  # kind, size of the key
_POSITION = struct.Struct(">QI")  # revision, ordinal within its transaction: sorts in order of happening


def encode_key_value(item: KeyValue) -> bytes:
    """Return what is stored under the item's key."""
    return _KEY_VALUE.pack(item.create_revision, item.mod_revision, item.version, item.lease) + item.value


def decode_key_value(key: bytes, record: bytes) -> KeyValue:
    """Return the item; the inverse of encode_key_value."""
    create_revision, mod_revision, version, lease = _KEY_VALUE.unpack_from(record)
    return KeyValue(key, record[_KEY_VALUE.size :], create_revision, mod_revision, version, lease)


def encode_event(event: Event) -> bytes:
    """Return a change as the history keeps it."""
    return _EVENT.pack(event.kind.value, len(event.item.key)) + event.item.key + encode_key_value(event.item)


def decode_event(record: bytes) -> Event:
    """Return the change; the inverse of encode_event."""
    kind, key_size = _EVENT.unpack_from(record)
    key_end = _EVENT.size + key_size
    return Event(EventKind(kind), decode_key_value(record[_EVENT.size : key_end], record[key_end:]))


def encode_position(revision: int, ordinal: int) -> bytes:
    """Return the history's key of one change."""
    return _POSITION.pack(revision, ordinal)


def decode_position(position: bytes) -> tuple[int, int]:
    """Return (revision, ordinal)."""
    revision, ordinal = _POSITION.unpack(position)
    return revision, ordinal
