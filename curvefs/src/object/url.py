"""Object stores by URL: ``file:///dir`` and ``s3://BUCKET[/PREFIX]?endpoint=http://HOST:PORT&region=NAME``.

A URL never carries credentials: each process resolves its own.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..common.errors import InvalidArgument
from .folder import FolderStore
from .keys import check_key
from .protocol import ObjectStore

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")  # what boto3 takes; servers differ in what they allow
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")


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
    """Read an object store's URL.

    Raises InvalidArgument with one clear line, which repeats no query and no user: they may hold secrets.
    """
    if not url.isprintable():
        raise InvalidArgument("an object store's URL has no control characters")
    before_query = url.partition("?")[0]
    if "@" in unquote(before_query.partition("://")[2].partition("/")[0]):
        raise InvalidArgument("an object store's URL must not carry credentials")
    shown = f"'{before_query}'"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidArgument(f"{shown} is no object store: {error}") from error
    if parts.fragment:
        raise InvalidArgument(f"{shown} has a fragment; write # as %23")
    if parts.scheme == "file":
        return _folder_location(shown, parts)
    if parts.scheme == "s3":
        return _s3_location(shown, parts)
    raise InvalidArgument(f"{shown} is no object store: file:///DIRECTORY or s3://BUCKET[/PREFIX]?endpoint=URL")


def _folder_location(shown: str, parts: SplitResult) -> FolderLocation:
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or not path.strip("/") or "\0" in path or parts.query:
        raise InvalidArgument(f"{shown} is no folder: file:///DIRECTORY is expected")
    return FolderLocation(Path(path))


def _s3_location(shown: str, parts: SplitResult) -> S3Location:
    if not _BUCKET.fullmatch(parts.netloc):
        raise InvalidArgument(f"{shown} names no bucket: s3://BUCKET[/PREFIX]?endpoint=URL is expected")
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, _ in options:
        if name not in ("endpoint", "region"):
            raise InvalidArgument(f"{shown}: unknown option '{name}'; endpoint and region are known")
    endpoint, region = (dict(options).get(name, "") for name in ("endpoint", "region"))
    if endpoint:
        _check_endpoint(endpoint)
    if region and not _REGION.fullmatch(region):
        raise InvalidArgument(f"{shown}: that is no region's name")
    prefix = unquote(parts.path).strip("/")
    if prefix:
        check_key(prefix)
    return S3Location(parts.netloc, f"{prefix}/" if prefix else "", endpoint, region)


def _check_endpoint(endpoint: str) -> None:
    """Raise InvalidArgument for what is no URL of a server, and for one with credentials."""
    if "@" in endpoint:
        raise InvalidArgument("an object store's endpoint must not carry credentials")
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        valid = False
    else:
        valid = valid and not parts.query and not parts.fragment
    if not valid:
        raise InvalidArgument(f"'{endpoint.partition('?')[0]}' is no endpoint: http://HOST:PORT is expected")


def open_store(url: str, *, profile: str = "", connections: int = 32, make: bool = False) -> ObjectStore:
    """Return the store a URL names.

    profile: of the AWS configuration files. connections: kept open to S3, so at most that many calls at once are fast.
    make: a folder that is missing. Raises InvalidArgument, StoreRefused (no such profile), and what opening a folder
    raises. No server is asked.
    """
    match parse_store_url(url):
        case FolderLocation(folder):
            return FolderStore(folder, make=make)
        case S3Location(bucket, prefix, endpoint, region):
            from .s3 import S3Store  # boto3 takes a third of a second to load

            return S3Store(
                bucket, prefix=prefix, endpoint=endpoint, region=region, profile=profile, connections=connections
            )
