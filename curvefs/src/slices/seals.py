"""What proves that a stored segment is whole: a checksum, or encryption with a tag; the only importer of cryptography.

A sealed segment is ``payload, CRC-32`` or ``nonce (8), ciphertext, tag (16)``, under AES-256-GCM.

Keys. The filesystem's data key is 32 random bytes and encrypts nothing itself: each block has a key of its own, derived
with HKDF-SHA256 (its expansion; the data key is uniform) from the name of its object: filesystem UUID, chunk id,
compaction, block index. Blocks cannot take each other's place, then. The tag also binds the segment's place in the
block and the size of its data, so neither can segments, nor can the metadata make one be read as something else.

Nonces. Under the key of one block, a nonce must not serve for two contents. Names are never used twice (rule 2), so a
counter would do; but ids come from the metaservers, which know no key, and who controls one could hand out an id
twice and learn from the two blocks what is in them. So a nonce is 8 random bytes, new each time that a block is
encoded, and the segment's number: it repeats after some 2**32 encodings of one block, where there are hardly two. A
block that is put again after an unknown outcome may thus differ in its bytes; each segment carries its nonce, and is
compressed to the same size, so also a mixture of the two reads as one.

What is not hidden: sizes, also compressed ones, which say something about what is in a segment.
"""

import struct
import zlib
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..common.data_keys import expand
from ..common.errors import CorruptData

NONCE_SIZE = 8
_TAG_SIZE = 16
_NUMBER = struct.Struct(">I")
_PLACE = struct.Struct(">II")


class Seal(Protocol):
    """Of the segments of one block. overhead: bytes that it adds to each."""

    overhead: int

    def seal(self, number: int, payload: bytes | memoryview, size: int) -> list[bytes | memoryview]:
        """Return a segment as it is stored, in pieces. size: of its data, before compression."""
        ...

    def open(self, number: int, stored: memoryview, size: int) -> memoryview:
        """Return the payload. Raises CorruptData."""
        ...


class Checksum:
    """CRC-32 of the payload, as in format 1."""

    overhead = _NUMBER.size

    def seal(self, number: int, payload: bytes | memoryview, size: int) -> list[bytes | memoryview]:
        """Return payload and checksum."""
        del number, size
        return [payload, _NUMBER.pack(zlib.crc32(payload))]

    def open(self, number: int, stored: memoryview, size: int) -> memoryview:
        """Return the payload."""
        del number, size
        payload = stored[: -self.overhead]
        if zlib.crc32(payload) != _NUMBER.unpack(stored[-self.overhead :])[0]:
            raise CorruptData("its checksum does not match")
        return payload


class Encryption:
    """AES-256-GCM under the key of one block. nonce: NONCE_SIZE random bytes, needed to seal."""

    overhead = NONCE_SIZE + _TAG_SIZE

    def __init__(self, data_key: bytes, name: str, nonce: bytes = b"") -> None:
        self._name = name.encode()
        self._nonce = nonce
        self._cipher = AESGCM(expand(data_key, b"curvefs block " + self._name))

    def seal(self, number: int, payload: bytes | memoryview, size: int) -> list[bytes | memoryview]:
        """Return nonce, ciphertext and tag."""
        assert len(self._nonce) == NONCE_SIZE, "a nonce was given"
        nonce = self._nonce + _NUMBER.pack(number)
        return [self._nonce, self._cipher.encrypt(nonce, payload, self._place(number, size))]

    def open(self, number: int, stored: memoryview, size: int) -> memoryview:
        """Return the plaintext."""
        nonce = bytes(stored[:NONCE_SIZE]) + _NUMBER.pack(number)
        try:
            return memoryview(self._cipher.decrypt(nonce, stored[NONCE_SIZE:], self._place(number, size)))
        except InvalidTag:
            raise CorruptData("its tag does not match: it is damaged, in another's place, or of another key") from None

    def _place(self, number: int, size: int) -> bytes:
        return self._name + _PLACE.pack(number, size)
