"""What S3Store makes of a server that misbehaves: an error of ours, or the right bytes, or (damage only) wrong ones."""

import secrets

import pytest

from curvefs.src.object import s3 as s3_module
from curvefs.src.object.protocol import StoreUnavailable
from curvefs.src.object.s3 import S3Store
from curvefs.test.support.faulty_s3 import Fault, FaultyS3

pytestmark = pytest.mark.s3
DATA = bytes(range(256)) * 1000
# What only a checksum shows: without a range, S3 says nothing of an object's length but in the header that is wrong.
UNSEEN = {Fault.DAMAGED, Fault.SHORT, Fault.LENGTH_TOO_SMALL}


@pytest.fixture
def faulty(weed):
    with FaultyS3(weed.endpoint, seed=7) as made:
        yield made


@pytest.fixture
def store(faulty, monkeypatch):
    monkeypatch.setattr(s3_module, "READ_TIMEOUT_S", 3.0)
    made = S3Store("curvefs", prefix=f"test-{secrets.token_hex(8)}/", endpoint=faulty.endpoint)
    yield made
    made.close()


@pytest.mark.parametrize("fault", sorted({*Fault} - {Fault.SLOW} - UNSEEN))
def test_fault_is_an_outage_that_passes(faulty, store, fault):
    store.put("k", DATA)
    faulty.begin(fault, share=1.0)
    with pytest.raises(StoreUnavailable):
        store.get("k")
    assert store.get("k") == DATA
    assert faulty.hits == [("GET", faulty.hits[0][1])]


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.SILENCE, Fault.CUT, Fault.CUT_HEADER, Fault.LOST_REPLY])
def test_put_that_fails_may_be_repeated(faulty, store, fault):
    faulty.begin(fault, share=1.0)
    with pytest.raises(StoreUnavailable):
        store.put("k", DATA)
    store.put("k", DATA)
    faulty.end()
    assert store.get("k") == DATA


@pytest.mark.parametrize("fault", [Fault.SHORT, Fault.LENGTH_TOO_LARGE, Fault.LENGTH_TOO_SMALL])
def test_range_of_another_length_than_it_says_is_an_outage(faulty, store, fault):
    store.put("k", DATA)
    faulty.begin(fault, share=1.0)
    with pytest.raises(StoreUnavailable):
        store.get("k", 1000, 5000)
    faulty.end()
    assert store.get("k", 1000, 5000) == DATA[1000:6000]


@pytest.mark.parametrize("fault", sorted(UNSEEN))
def test_damage_comes_through_once_and_leaves_no_broken_connection(faulty, store, fault):
    store.put("k", DATA)
    faulty.begin(fault, share=1.0)
    assert store.get("k") != DATA
    faulty.end()
    for _ in range(3):
        try:
            assert store.get("k") == DATA
        except StoreUnavailable:  # what was left on the connection is no answer
            assert fault is Fault.LENGTH_TOO_SMALL
    assert store.get("k") == DATA
