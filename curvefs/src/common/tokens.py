"""Session tokens: what a mount shows to metaservers. SessionToken, serialised, then its HMAC-SHA256; pure."""

import hmac
from hashlib import sha256

from google.protobuf.message import DecodeError

from ...proto import mds_pb2 as pb
from .errors import TokenRefused

MAC_SIZE = 32


def sign(secret: bytes, token: pb.SessionToken) -> bytes:
    """Return a token's bytes under the cluster's secret."""
    said = token.SerializeToString(deterministic=True)
    return said + hmac.digest(secret, said, sha256)


def verify(secret: bytes, token: bytes, now_ns: int) -> pb.SessionToken:
    """Return what a token says. Raises TokenRefused when it is forged or has expired."""
    said, mac = token[:-MAC_SIZE], token[-MAC_SIZE:]
    if not hmac.compare_digest(hmac.digest(secret, said, sha256), mac):
        raise TokenRefused("the session token is not signed by this cluster")
    try:
        decoded = pb.SessionToken.FromString(said)
    except DecodeError as error:
        raise TokenRefused("the session token cannot be read") from error
    if decoded.expires_ns <= now_ns:
        raise TokenRefused("the session token has expired")
    return decoded
