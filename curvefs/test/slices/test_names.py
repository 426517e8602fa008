"""Object names: one per block, read back exactly, and grouped as ranges are leased."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.common.errors import InvalidArgument
from curvefs.src.common.ids import CHUNK_RANGE_SIZE, make_id
from curvefs.src.object.keys import check_key
from curvefs.src.slices.names import BlockName, block_name, filesystem_prefix, parse_block_name, range_prefix

UUIDS = st.uuids()
CHUNK_IDS = st.builds(make_id, st.integers(0, 1 << 20), st.integers(0, (1 << 40) - 1))
NAMES = st.builds(BlockName, UUIDS, CHUNK_IDS, st.integers(0, 1 << 32), st.integers(0, 15))
ID = "00112233-4455-6677-8899-aabbccddeeff"


def test_name_is_the_format():
    name = block_name(UUID(ID), make_id(3, 12_345), 2, 15)
    assert name == f"{ID}/3/12/{(3 << 40) + 12_345}_2_15"


@given(NAMES)
def test_name_reads_back(parts):
    name = block_name(*parts)
    assert parse_block_name(name) == parts
    assert check_key(name) == name


@given(NAMES, NAMES)
def test_different_blocks_have_different_names(one, other):
    assert (block_name(*one) == block_name(*other)) == (one == other)


@given(UUIDS, st.integers(0, 100), st.integers(0, 1 << 30), st.integers(0, CHUNK_RANGE_SIZE - 1))
def test_prefix_of_a_range_holds_that_range_and_nothing_else(uuid, partition, k, within):
    first = make_id(partition, k * CHUNK_RANGE_SIZE)
    prefix = range_prefix(uuid, first)
    assert prefix.startswith(filesystem_prefix(uuid))
    assert block_name(uuid, first + within, 0, 0).startswith(prefix)
    assert not block_name(uuid, first + CHUNK_RANGE_SIZE + within, 0, 0).startswith(prefix)
    assert not block_name(uuid, make_id(partition + 1, k * CHUNK_RANGE_SIZE), 0, 0).startswith(prefix)


@given(st.lists(NAMES.map(lambda parts: parts._replace(uuid=UUID(ID))), max_size=8, unique=True))
def test_no_name_lies_below_another(names):
    """Or a folder could not hold them."""
    keys = [block_name(*parts) for parts in names]
    assert not any(other.startswith(key + "/") for key in keys for other in keys)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        f"{ID}/3/12",
        f"{ID}/3/12/{(3 << 40) + 12_345}_2",
        f"{ID}/3/12/{(3 << 40) + 12_345}_2_15_1",
        f"{ID}/3/13/{(3 << 40) + 12_345}_2_15",
        f"{ID}/4/12/{(3 << 40) + 12_345}_2_15",
        f"{ID}/3/12/{(3 << 40) + 12_345}_2_015",
        f"{ID}/3/12/{(3 << 40) + 12_345}_2_+5",
        f"{ID}/3/12/{(3 << 40) + 12_345}_-2_15",
        f"{ID}/-1/0/-5_0_0",
        f"{ID}/0/0/5_0_1_0",
        f"{ID.upper()}/0/0/5_0_0",
        f"{ID.replace('-', '')}/0/0/5_0_0",
        f"/{ID}/0/0/5_0_0",
        f"{ID}/0/0/5_0_0\n",
        f"{ID}/0/0/\u0665_0_0",
        ".curvefs-probe/0011",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InvalidArgument):
        parse_block_name(name)
