"""Object names: ``<filesystem uuid>/<partition>/<n // 1000>/<chunk id>_<compaction>_<block index>`` (rule 2).

A name is never used for two contents: the chunk id is unique in the filesystem, and the bytes of a block never change.
The folder of a thousand ids is one leased range, so that a listing by prefix finds what a dead session left (rule 3).
"""

from typing import NamedTuple
from uuid import UUID

from ..common.errors import InvalidArgument
from ..common.ids import CHUNK_RANGE_SIZE, number_of, partition_of


class BlockName(NamedTuple):
    """What an object name says."""

    uuid: UUID
    chunk_id: int
    compaction: int
    block: int


def block_name(uuid: UUID, chunk_id: int, compaction: int, index: int) -> str:
    """Return the name of the object that holds a block."""
    return f"{range_prefix(uuid, chunk_id)}{chunk_id}_{compaction}_{index}"


def range_prefix(uuid: UUID, chunk_id: int) -> str:
    """Return the prefix of all blocks of the range that a chunk id lies in."""
    return f"{uuid}/{partition_of(chunk_id)}/{number_of(chunk_id) // CHUNK_RANGE_SIZE}/"


def filesystem_prefix(uuid: UUID) -> str:
    """Return the prefix of all objects of a filesystem."""
    return f"{uuid}/"


def parse_block_name(name: str) -> BlockName:
    """Read a name back. Raises InvalidArgument for what is no block name."""
    try:
        uuid, _, _, last = name.split("/")
        chunk_id, compaction, index = (int(part) for part in last.split("_"))
        parsed = BlockName(UUID(uuid), chunk_id, compaction, index)
        valid = min(parsed[1:]) >= 0 and block_name(*parsed) == name
    except ValueError as error:
        raise InvalidArgument(f"'{name}' is no block name") from error
    if not valid:
        raise InvalidArgument(f"'{name}' is no block name")
    return parsed
