"""AWS Signature Version 4 of a request without query, whose body is not signed. Pure.

botocore's signer does the same at ten times the CPU, a quarter of that of a whole small request: it is made for every
request of every service. Tests compare the two. Signed are the host, the time and the session's token; the key of a
day is derived once. ("Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference.)

Shared between threads: the last day's key, replaced as a whole.
"""

import hashlib
import hmac
import time
from typing import NamedTuple

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


class Credentials(NamedTuple):
    """What signs. token: of temporary credentials, else empty."""

    access_key: str
    secret_key: str
    token: str


class Signer:
    """Of requests to the S3 service of a region at one host, as its Host header says it."""

    def __init__(self, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._key: tuple[str, str, bytes] = ("", "", b"")  # secret, day, and the key derived from them

    def headers(self, credentials: Credentials, method: str, path: str, time_s: float) -> dict[str, str]:
        """Return the headers that make a request a signed one. path: as it is sent, quoted."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_s))
        signed = {"host": self._host, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": now}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        names = ";".join(signed)  # in alphabetical order, as it must be
        lines = "".join([f"{name}:{value}\n" for name, value in signed.items()])
        request = hashlib.sha256(f"{method}\n{path}\n\n{lines}\n{names}\n{_UNSIGNED}".encode()).hexdigest()
        scope = f"{now[:8]}/{self._region}/s3/aws4_request"
        text = f"{_ALGORITHM}\n{now}\n{scope}\n{request}".encode()
        signature = hmac.digest(self._day_key(credentials.secret_key, now[:8]), text, "sha256").hex()
        del signed["host"]  # whoever sends says it
        signed["Authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _day_key(self, secret_key: str, day: str) -> bytes:
        known_secret, known_day, key = self._key
        if (known_secret, known_day) != (secret_key, day):
            key = f"AWS4{secret_key}".encode()
            for word in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self._key = (secret_key, day, key)
        return key
