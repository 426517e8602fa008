"""The hello: what its proof covers, and each way in which it is refused."""

import hmac
from hashlib import sha256

import pytest

from curvefs.proto import raft_pb2 as pb
from curvefs.src.metaserver.identity import Identity
from curvefs.src.metaserver.peers.hello import Reason, Refused, check_hello, make_hello, source_of

SECRET = b"secret of the cluster"
ONE = Identity("cluster", 1, b"", SECRET)
TWO = Identity("cluster", 2, b"", SECRET)


def hello(me=ONE, to=2, address="host:1"):
    return make_hello(me, to, time_ns=77, address=address)


def signed(said, secret=SECRET):
    said.ClearField("proof")
    said.proof = hmac.digest(secret, said.SerializeToString(deterministic=True), sha256)
    return said


def reason_of(said, me=TWO):
    with pytest.raises(Refused) as refused:
        check_hello(said, me)
    assert SECRET.decode() not in str(refused.value)
    return refused.value.reason


def test_a_hello_says_who_speaks_to_whom_when_and_where_from():
    said = hello()
    assert (said.protocol_version, said.cluster_id, source_of(said), said.to) == (1, "cluster", 1, 2)
    assert (said.time_ns, said.address) == (77, "host:1")
    check_hello(said, TWO)


def test_the_proof_is_the_hmac_of_the_hello_without_it():
    bare = pb.PeerHello(protocol_version=1, cluster_id="cluster", to=2, time_ns=77, address="host:1", **{"from": 1})
    assert hello().proof == hmac.digest(SECRET, bare.SerializeToString(), sha256)


def test_checking_leaves_the_hello_as_it_is():
    said = hello()
    check_hello(said, TWO)
    assert said == hello()


def test_a_proof_under_another_secret_is_refused():
    assert reason_of(signed(hello(), b"another")) is Reason.PROOF


def test_no_proof_is_refused():
    said = hello()
    said.ClearField("proof")
    assert reason_of(said) is Reason.PROOF


@pytest.mark.parametrize(("field", "value"), [("from", 3), ("time_ns", 78), ("address", "evil:1")])
def test_the_proof_covers_every_field(field, value):
    said = hello()
    setattr(said, field, value)
    assert reason_of(said) is Reason.PROOF


def test_without_a_secret_nobody_is_believed():
    unregistered = Identity("cluster", 2)
    assert reason_of(signed(hello(), b""), unregistered) is Reason.PROOF


def test_another_version_is_refused_whatever_else_it_says():
    said = pb.PeerHello(protocol_version=2)
    assert reason_of(said) is Reason.VERSION
    with pytest.raises(Refused, match="speaks version 2 of the protocol, this metaserver 1"):
        check_hello(said, TWO)


def test_another_cluster_is_refused():
    assert reason_of(hello(Identity("other", 1, b"", SECRET))) is Reason.CLUSTER


def test_a_hello_to_somebody_else_is_refused():
    assert reason_of(hello(to=3)) is Reason.TO


@pytest.mark.parametrize("source", [0, 2])
def test_a_hello_from_nobody_or_from_myself_is_refused(source):
    assert reason_of(hello(Identity("cluster", source, b"", SECRET))) is Reason.FROM


@pytest.mark.parametrize("address", ["", "host", "unix:/tmp/socket", "host:99999"])
def test_a_hello_without_an_address_that_can_be_dialled_is_refused(address):
    assert reason_of(hello(address=address)) is Reason.ADDRESS


def test_fields_of_a_later_version_are_covered_by_the_proof():
    said = signed(pb.PeerHello.FromString(hello().SerializeToString() + b"\xa0\x06\x01"))
    check_hello(pb.PeerHello.FromString(said.SerializeToString()), TWO)
    bare = hello()
    bare.proof = said.proof
    assert reason_of(bare) is Reason.PROOF
