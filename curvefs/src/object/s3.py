"""An object store in an S3 bucket; the only importer of boto3.

Puts and gets are single requests (signed_requests.py), for the sake of the client's CPU. boto3 does the rest: lists,
deletions, and what S3 wants sent elsewhere, such as to another region. Payloads are not signed and checksums are sent
only when required: blocks carry checksums of their own. Nothing here retries: callers do, with their own policy and
deadline. Credentials come from where boto3 users expect: the environment, a profile, the instance's role.

Errors say bucket, endpoint and S3's own code, never a credential. AWS answers a get of an absent object with
AccessDenied, not NoSuchKey, to who may not list the bucket: that permission is needed. A 404 without NoSuchKey comes
from something in front of the store, such as a gateway whose backend is away, and says nothing of any object.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from .keys import check_key
from .protocol import ObjectInfo, ObjectNotFound, ObjectStoreError, StoreFull, StoreRefused, StoreUnavailable
from .signature import Credentials
from .signed_requests import Answer, Limits, RequestFailed, SignedRequests

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
DELETE_BATCH = 1000
LIST_PAGE = 1000

_ERROR_SIZE_MAX = 16 << 10
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/")
_AWS_HOST = re.compile(r"s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?")
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}

_MISSING = {"NoSuchKey", "404", "NotFound"}  # said of one object among those to delete
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
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "PermanentRedirect": "the bucket is in another region",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
}
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.ConfigParseError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.TokenRetrievalError,
)


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
        config = Config(
            s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
        )
        with self._translated(""):
            core = botocore.session.Session(profile=profile or None)
            session = boto3.session.Session(botocore_session=core)
            self._client: S3Client = session.client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=region or session.region_name or "us-east-1",
                config=config,
            )
            self._client.meta.events.register_first("before-call.s3", partial(_renew_credentials, core))
            self._client.meta.events.register_last("before-call.s3", _without_expect)
            url = _bucket_url(self._client.meta.endpoint_url, bucket)
            self._requests = SignedRequests(
                url,
                self._client.meta.region_name,
                lambda: _credentials(core),
                Limits(connections, CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                certificates=str(core.get_config_variable("ca_bundle") or get_cert_path(True)),
                proxy=get_environ_proxies(url).get(urlsplit(url).scheme, ""),
            )

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store an object."""
        # Bytes and bytearrays are sent as they are; a memoryview would be taken for a file.
        body = data if isinstance(data, bytes | bytearray) else bytes(data)
        name = check_key(key, self._prefix)
        with self._translated(""):  # no answer to a put can mean that the object is missing
            answer = self._requests.request("PUT", name, {}, body)
            if not _is_elsewhere(answer):
                self._check(answer, "")
                return
            self._client.put_object(Bucket=self._bucket, Key=name, Body=body)  # type: ignore[arg-type]  # bytearrays work

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        name = check_key(key, self._prefix)
        wanted = {}
        if start or size is not None:
            # A range has at least one byte; of a get of none, only whether the object is there counts.
            wanted["Range"] = f"bytes={start}-" + ("" if size is None else str(start + max(size, 1) - 1))
        with self._translated(key):
            answer = self._requests.request("GET", name, wanted)
            if _is_elsewhere(answer):
                answer = self._get_elsewhere(name, wanted)
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""  # begins at or past the end
            self._check(answer, key)
        data, part = answer.body, answer.headers.get("Content-Range", "")
        if match := _CONTENT_RANGE.match(part):
            first, last = int(match[1]), int(match[2])
            if first != start or last - first + 1 != len(data):
                raise StoreUnavailable(f"{self._where}: {key}: {len(data)} bytes are not its {part}")
        elif answer.status == HTTPStatus.PARTIAL_CONTENT:
            raise StoreUnavailable(f"{self._where}: {key}: which part of it was sent is not said")
        elif wanted:
            data = data[start:]  # the server does not know ranges and gave everything
        return data if size is None or len(data) <= size else data[:size]

    def _get_elsewhere(self, name: str, wanted: dict[str, str]) -> Answer:
        """Get an object by boto3, which finds out where the bucket is."""
        answer = self._client.get_object(Bucket=self._bucket, Key=name, **wanted)  # type: ignore[arg-type]  # Range only
        with contextlib.closing(answer["Body"]) as body:
            data = body.read()
        return Answer(HTTPStatus.OK, {"Content-Range": answer.get("ContentRange", "")}, data)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand a request."""
        names = [check_key(key, self._prefix) for key in keys]
        for first in range(0, len(names), DELETE_BATCH):
            batch = [{"Key": name} for name in names[first : first + DELETE_BATCH]]
            with self._translated(""):
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": batch, "Quiet": True},  # type: ignore[typeddict-item]  # list of plain dicts
                )
            for failed in answer.get("Errors", []):
                if (code := failed.get("Code", "")) not in _MISSING:
                    kind = StoreRefused if code in _REFUSALS else StoreUnavailable
                    raise kind(f"{self._where}: {failed.get('Key')} was not deleted: {_REFUSALS.get(code, code)}")

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return objects in key order.

        The order is the server's: AWS's is by bytes; SeaweedFS sorts by folder, so that 'a/b' comes before 'a-b' there.
        Going on after the last key works with either.
        """
        found: list[ObjectInfo] = []
        wanted: dict[str, Any] = {"StartAfter": self._prefix + after} if after else {}
        while len(found) < limit:
            with self._translated(""):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=self._prefix + prefix,
                    MaxKeys=min(LIST_PAGE, limit - len(found)),
                    **wanted,
                )
            for row in page.get("Contents", []):
                key = row["Key"][len(self._prefix) :]
                found.append(ObjectInfo(key, row["Size"], int(row["LastModified"].timestamp() * 1e9)))
            if not page.get("IsTruncated"):
                break
            token = page.get("NextContinuationToken", "")
            if not token or token == wanted.get("ContinuationToken"):
                raise StoreUnavailable(f"{self._where}: the listing does not go on")
            wanted = {"ContinuationToken": token}
        return found

    def close(self) -> None:
        """Close the pooled connections."""
        self._requests.close()
        self._client.close()

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn botocore's errors into ours: the one place. What signed requests raise is told where."""
        try:
            yield
        except botocore.exceptions.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise self._answered(_code(error), status, key) from None  # its text may quote the access key
        except _NO_CREDENTIALS as error:
            raise StoreRefused(f"{self._where}: no credentials: {_line(error)}") from error
        except (botocore.exceptions.ParamValidationError, botocore.exceptions.InvalidRegionError, ValueError) as error:
            raise StoreRefused(f"{self._where}: {_line(error)}") from error
        except (botocore.exceptions.BotoCoreError, RequestFailed, OSError) as error:
            raise StoreUnavailable(f"{self._where}: {_kind(error)}") from error

    def _check(self, answer: Answer, key: str) -> None:
        """Raise our error for an answer that is none of success."""
        if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NO_CONTENT):
            raise self._answered(_code_in(answer), answer.status, key)

    def _answered(self, code: str, status: int, key: str) -> ObjectStoreError:
        """Return our error for one that S3 answered. key: '' where no object was asked for."""
        if code == "NoSuchKey" and key:
            return ObjectNotFound(f"{self._where}: there is no object {key}")
        if code in _REFUSALS:
            return StoreRefused(f"{self._where}: {_REFUSALS[code]}")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return StoreRefused(f"{self._where}: access is denied ({code or status})")
        if status == HTTPStatus.INSUFFICIENT_STORAGE or code == "InsufficientStorage":
            return StoreFull(f"{self._where}: no room left")
        return StoreUnavailable(f"{self._where}: {code or status}")


def _bucket_url(endpoint: str, bucket: str) -> str:
    """Return where a bucket's objects are: at a name of its own where S3 has one, else below its endpoint."""
    parts = urlsplit(endpoint)
    if _AWS_HOST.fullmatch(parts.netloc) and _HOST_LABEL.fullmatch(bucket):
        return f"{parts.scheme}://{bucket}.{parts.netloc}"
    return f"{endpoint.rstrip('/')}/{bucket}"


def _credentials(session: botocore.session.Session) -> Credentials:
    """Return the credentials of now; those that expire are renewed by botocore. Raises botocore's errors, OSError.

    Where they come from, anything may be raised, such as a plain RuntimeError for new ones that have expired already.
    Its text is not repeated: it may quote them.
    """
    try:
        found = session.get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  # see above
        told = f"they cannot be renewed, or have expired when they come ({type(error).__name__})"
        raise botocore.exceptions.CredentialRetrievalError(provider="their source", error_msg=told) from None
    if frozen is None:
        raise botocore.exceptions.NoCredentialsError
    return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")


def _renew_credentials(session: botocore.session.Session, **_: Any) -> None:
    """Have credentials that expire renewed before the SDK does it, which would let through whatever that raises."""
    _credentials(session)


def _is_elsewhere(answer: Answer) -> bool:
    """Return whether S3 wants this request sent to another place."""
    return HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST or (
        answer.status == HTTPStatus.BAD_REQUEST and _code_in(answer) in _ELSEWHERE
    )


def _code_in(answer: Answer) -> str:
    """Return S3's code in an answer; '' if there is none."""
    found = _CODE.search(answer.body[:_ERROR_SIZE_MAX])
    return found[1].decode(errors="replace") if found else ""


def _kind(error: Exception) -> str:
    return str(error) if isinstance(error, RequestFailed) else type(error).__name__


def _without_expect(params: dict[str, Any], **_: Any) -> None:
    """Send a body at once: asking first (``Expect: 100-continue``) costs every put a round trip."""
    params["headers"].pop("Expect", None)


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
