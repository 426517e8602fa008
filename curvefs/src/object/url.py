"""Object stores by URL: ``file:///dir`` and ``s3://BUCKET[/PREFIX]?endpoint=http://HOST:PORT&region=NAME``.

A URL never carries credentials: each process resolves its own.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..common.errors import InvalidArgument
from .folder import FolderStore
from .protocol import ObjectStore


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """A plain folder."""

    folder: Path


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket. prefix: '' or ends with a slash. endpoint: '' for AWS."""

    bucket: str
    prefix: str
    endpoint: str
    region: str


def parse_store_url(url: str) -> FolderLocation | S3Location:
    """Read an object store's URL. Raises InvalidArgument with one clear line."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument(f"'{url}' is no object store: {error}") from error
    if parts.username or parts.password or "@" in parts.netloc:
        raise InvalidArgument("an object store's URL must not carry credentials")
    if parts.scheme == "file":
        if host or not parts.path.startswith("/") or parts.path.strip("/") == "" or parts.query:
            raise InvalidArgument(f"'{url}' is no folder: file:///DIRECTORY is expected")
        return FolderLocation(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        return _s3_location(url, parts.netloc, parts.path, parts.query)
    raise InvalidArgument(f"'{url}' is no object store: file:///DIRECTORY or s3://BUCKET[/PREFIX]?endpoint=URL")


def _s3_location(url: str, bucket: str, path: str, query: str) -> S3Location:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = set(options) - {"endpoint", "region"}
    if unknown:
        raise InvalidArgument(f"'{url}': unknown option '{min(unknown)}'; endpoint and region are known")
    endpoint = options.get("endpoint", "")
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise InvalidArgument(f"'{endpoint}' is no endpoint: http://HOST:PORT is expected")
    if not bucket:
        raise InvalidArgument(f"'{url}' names no bucket")
    prefix = path.strip("/")
    return S3Location(bucket, f"{prefix}/" if prefix else "", endpoint, options.get("region", ""))


def open_store(url: str, *, profile: str = "", connections: int = 32) -> ObjectStore:
    """Return the store a URL names. Raises InvalidArgument, StoreRefused (no credentials)."""
    match parse_store_url(url):
        case FolderLocation(folder):
            return FolderStore(folder)
        case S3Location(bucket, prefix, endpoint, region):
            from .s3 import S3Store  # boto3 takes a third of a second to load

            return S3Store(
                bucket, prefix=prefix, endpoint=endpoint, region=region, profile=profile, connections=connections
            )
