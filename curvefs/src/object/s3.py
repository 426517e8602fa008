"""An object store in an S3 bucket, through boto3; the only importer of boto3.

Payloads are not signed and checksums are sent only when required: blocks carry checksums of their own, and that halves
the client's CPU. The SDK does not retry: callers do, with their own policy and deadline. Credentials come from where
boto3 users expect: the environment, a profile, the instance's role.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
from botocore.config import Config

from .protocol import ObjectInfo, ObjectNotFound, StoreFull, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
DELETE_BATCH = 1000

_MISSING = {"NoSuchKey", "404", "NotFound"}
_REFUSALS = {
    "NoSuchBucket": "the bucket does not exist",
    "AccessDenied": "access is denied",
    "403": "access is denied",
    "Forbidden": "access is denied",
    "InvalidAccessKeyId": "the credentials are refused",
    "SignatureDoesNotMatch": "the credentials are refused",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the credentials are refused",
    "InvalidBucketName": "that is no bucket name",
}


class S3Store:
    """Objects in a bucket, under a prefix ('' or one that ends with a slash). ``endpoint``: '' for AWS."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str = "",
        region: str = "",
        profile: str = "",
        connections: int = 32,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._where = f"bucket '{bucket}'" + (f" at {endpoint}" if endpoint else "")
        with self._translated(""):
            session = boto3.session.Session(profile_name=profile or None)
            self._client: S3Client = session.client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=region or session.region_name or "us-east-1",
                config=Config(
                    s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    max_pool_connections=connections,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    tcp_keepalive=True,
                ),
            )

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object."""
        # botocore takes bytes and bytearrays as they are, and would read a memoryview as a file.
        body = data if isinstance(data, bytes | bytearray) else bytes(data)
        with self._translated(key):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body)  # type: ignore[arg-type]  # bytearrays work

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        if size == 0:
            return b""
        wanted: dict[str, Any] = {}
        if start or size is not None:
            wanted["Range"] = f"bytes={start}-" + ("" if size is None else str(start + size - 1))
        with self._translated(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **wanted)
            except botocore.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
                    return b""  # begins at or past the end
                raise
            body = answer["Body"].read()
            if len(body) != answer["ContentLength"]:
                raise StoreUnavailable(f"{self._where}: {key} was cut short")
            return body

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand a request."""
        for first in range(0, len(keys), DELETE_BATCH):
            batch = [{"Key": self._prefix + key} for key in keys[first : first + DELETE_BATCH]]
            with self._translated(""):
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": batch, "Quiet": True},  # type: ignore[typeddict-item]  # list of plain dicts
                )
            for error in answer.get("Errors", []):
                if error.get("Code") not in _MISSING:
                    raise StoreUnavailable(f"{self._where}: {error.get('Key')} was not deleted: {error.get('Code')}")

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order."""
        found: list[ObjectInfo] = []
        while len(found) < limit:
            wanted: dict[str, Any] = {"StartAfter": self._prefix + after} if after else {}
            with self._translated(""):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=min(1000, limit - len(found)), **wanted
                )
            for row in page.get("Contents", []):
                key = row["Key"][len(self._prefix) :]
                found.append(ObjectInfo(key, row["Size"], int(row["LastModified"].timestamp() * 1e9)))
            if not page.get("IsTruncated") or not page.get("Contents"):
                break
            after = found[-1].key
        return found

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn botocore's errors into ours: the one place."""
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _MISSING and key:
                raise ObjectNotFound(f"{self._where}: there is no object {key}") from None
            if code in _REFUSALS:
                raise StoreRefused(f"{self._where}: {_REFUSALS[code]}") from None
            if status == 507 or code == "InsufficientStorage":
                raise StoreFull(f"{self._where}: no room left") from None
            raise StoreUnavailable(f"{self._where}: {code or status}") from error
        except (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.PartialCredentialsError,
            botocore.exceptions.ProfileNotFound,
            botocore.exceptions.CredentialRetrievalError,
        ) as error:
            raise StoreRefused(f"{self._where}: no credentials: {error}") from error
        except (botocore.exceptions.ParamValidationError, botocore.exceptions.InvalidRegionError, ValueError) as error:
            raise StoreRefused(f"{self._where}: {str(error).splitlines()[0]}") from error
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            raise StoreUnavailable(f"{self._where}: {type(error).__name__}") from error
