"""Who speaks on a stream between metaservers: the first frame of each side, signed and checked. Pure.

The proof is the HMAC-SHA256, under the cluster's session secret, of the hello without its proof. It shows that the
speaker is a metaserver of this cluster; the stream itself is not encrypted, and a hello that somebody has overheard can
be said again.
"""

import hmac
from enum import StrEnum
from hashlib import sha256

from ....proto import raft_pb2 as pb
from ...common.addresses import parse_address
from ...common.errors import ClusterError, StartupError
from ..identity import Identity

PROTOCOL_VERSION = 1


class Reason(StrEnum):
    """Why a stream was refused; the label of the metric."""

    NOT_READY = "not_ready"
    TOO_MANY = "too_many"
    NO_HELLO = "no_hello"
    VERSION = "version"
    CLUSTER = "cluster"
    PROOF = "proof"
    TO = "to"
    FROM = "from"
    ADDRESS = "address"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    MESSAGE = "message"


class Refused(ClusterError):
    """The other side of a stream broke its rules."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def source_of(said: pb.PeerHello | pb.Message) -> int:
    """Return the field ``from``, which is a word of Python's."""
    source: int = getattr(said, "from")
    return source


def make_hello(me: Identity, to: int, *, time_ns: int, address: str) -> pb.PeerHello:
    """Return the signed hello of this metaserver to another one."""
    hello = pb.PeerHello(
        protocol_version=PROTOCOL_VERSION,
        cluster_id=me.cluster_id,
        to=to,
        time_ns=time_ns,
        address=address,
    )
    setattr(hello, "from", me.metaserver_id)
    hello.proof = _proof(me.session_secret, hello)
    return hello


def check_hello(hello: pb.PeerHello, me: Identity) -> None:
    """Check what another metaserver says of itself to me. Raises Refused.

    The version comes first, since another one may prove itself otherwise; then what tells an operator most.
    """
    if hello.protocol_version != PROTOCOL_VERSION:
        raise Refused(
            Reason.VERSION,
            f"the peer speaks version {hello.protocol_version} of the protocol, this metaserver {PROTOCOL_VERSION}",
        )
    if hello.cluster_id != me.cluster_id:
        raise Refused(Reason.CLUSTER, "the peer is of another cluster")
    said = pb.PeerHello()
    said.CopyFrom(hello)
    said.ClearField("proof")
    if not me.session_secret or not hmac.compare_digest(_proof(me.session_secret, said), hello.proof):
        raise Refused(Reason.PROOF, "the peer's hello is not signed by this cluster")
    if hello.to != me.metaserver_id:
        raise Refused(Reason.TO, f"the hello is for metaserver {hello.to}, this is {me.metaserver_id}")
    if source_of(hello) in {0, me.metaserver_id}:
        raise Refused(Reason.FROM, f"the peer says that it is metaserver {source_of(hello)}")
    try:
        parse_address(hello.address)
    except StartupError as error:
        raise Refused(Reason.ADDRESS, "the peer does not say where it listens") from error


def _proof(secret: bytes, hello: pb.PeerHello) -> bytes:
    return hmac.digest(secret, hello.SerializeToString(deterministic=True), sha256)
