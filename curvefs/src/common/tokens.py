"""Session tokens: what a mount shows to metaservers. SessionToken, serialised, then its HMAC-SHA256; pure.

Also how a metaserver proves to an MDS that has forgotten it that it belongs to the cluster.
"""

import hmac
from hashlib import sha256

from google.protobuf.message import DecodeError

from ...proto import mds_pb2 as pb
from .errors import TokenRefused

MAC_SIZE = 32


def membership_proof(secret: bytes, metaserver_id: int, token: bytes) -> bytes:
    """Return what shows that a metaserver with this id and token was registered with the cluster."""
    return hmac.digest(secret, b"metaserver/%d/" % metaserver_id + token, sha256)


def sign(secret: bytes, token: pb.SessionToken) -> bytes:
    """Return a token's bytes under the cluster's secret."""
    said = token.SerializeToString(deterministic=True)
    return said + hmac.digest(secret, said, sha256)


def verify(secret: bytes, token: bytes) -> pb.SessionToken:
    """Return what a token says; the caller looks whether it has expired. Raises TokenRefused when it is forged."""
    said, mac = token[:-MAC_SIZE], token[-MAC_SIZE:]
    if not hmac.compare_digest(hmac.digest(secret, said, sha256), mac):
        raise TokenRefused("the session token is not signed by this cluster")
    try:
        return pb.SessionToken.FromString(said)
    except DecodeError as error:
        raise TokenRefused("the session token cannot be read") from error
