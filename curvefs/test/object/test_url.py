"""URLs of object stores: what they mean, and one clear line for the others that repeats no secret."""

from pathlib import Path

import pytest

from curvefs.src.common.errors import InvalidArgument
from curvefs.src.object.folder import FolderStore
from curvefs.src.object.protocol import StoreUnavailable
from curvefs.src.object.s3 import S3Store
from curvefs.src.object.url import FolderLocation, S3Location, open_store, parse_store_url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("file:///data", FolderLocation(Path("/data"))),
        ("file:///data/a%20b/", FolderLocation(Path("/data/a b"))),
        ("file:///srv/x@y/ä", FolderLocation(Path("/srv/x@y/ä"))),
        ("s3://bucket", S3Location("bucket", "", "", "")),
        ("s3://bucket/", S3Location("bucket", "", "", "")),
        ("s3://bucket/a/b", S3Location("bucket", "a/b/", "", "")),
        ("s3://my.Bucket_1/a/?region=eu-west-1", S3Location("my.Bucket_1", "a/", "", "eu-west-1")),
        ("s3://b-1?endpoint=http://127.0.0.1:8333", S3Location("b-1", "", "http://127.0.0.1:8333", "")),
        ("s3://bkt/p?endpoint=https://s3.example.org&region=x", S3Location("bkt", "p/", "https://s3.example.org", "x")),
        ("s3://bkt?endpoint=http%3A%2F%2F[::1]:80", S3Location("bkt", "", "http://[::1]:80", "")),
    ],
)
def test_url_says_where(url, location):
    assert parse_store_url(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "/data",
        "http://bucket",
        "file://",
        "file:///",
        "file://data",
        "file://localhost/data",
        "file:data",
        "file:///data?x=1",
        "file:///data#x",
        "file:///data%00x",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://-bucket",
        "s3://bucket:80",
        "s3://buc ket",
        "s3://[bucket",
        "s3://bucket/a//b",
        "s3://bucket/a/../b",
        "s3://bucket#x",
        "s3://bucket\n",
        "s3://bucket?endpoint=127.0.0.1:8333",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://",
        "s3://bucket?endpoint=http://host:port",
        "s3://bucket?endpoint=http://host:99999",
        "s3://bucket?endpoint=http://host:0",
        "s3://bucket?endpoint=http://host?x",
        "s3://bucket?region=a b",
        "s3://bucket?retion=x",
        "s3://bucket?secret",
    ],
)
def test_other_urls_are_refused_in_one_line(url):
    with pytest.raises(InvalidArgument) as caught:
        parse_store_url(url)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    with pytest.raises(InvalidArgument):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hidden@bucket",
        "s3://key%3Ahidden%40bucket",
        "s3://key:hidden@[bucket",
        "s3://bucket?aws_secret_access_key=hidden",
        "s3://bucket?endpoint=http://key:hidden@host",
        "s3://bucket?endpoint=http://host/?secret=hidden",
        "http://x?y=hidden",
        "s3://[bad?secret=hidden",
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(InvalidArgument) as caught:
        parse_store_url(url)
    assert "hidden" not in str(caught.value)


def test_folder_url_opens_a_folder(tmp_path):
    store = open_store(f"file://{tmp_path}/objects", make=True)
    assert isinstance(store, FolderStore)
    store.put("k", b"x")
    assert (tmp_path / "objects" / "k").read_bytes() == b"x"
    assert open_store(f"file://{tmp_path}/objects").get("k") == b"x"


@pytest.mark.parametrize("mounted", [False, True])
def test_a_folder_that_was_not_made_as_a_store_is_not_taken_for_one(tmp_path, mounted):
    folder = tmp_path / "objects"
    if mounted:
        folder.mkdir()
    with pytest.raises(StoreUnavailable, match="shared by all machines"):
        open_store(f"file://{folder}")
    assert folder.exists() == mounted
    assert not mounted or not any(folder.iterdir())


def test_s3_url_opens_a_bucket_and_asks_no_server(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = open_store("s3://bucket/prefix?endpoint=http://127.0.0.1:1", connections=4)
    assert isinstance(store, S3Store)
    with pytest.raises(StoreUnavailable, match=r"'bucket' at http://127\.0\.0\.1:1"):
        store.get("k")
    store.close()
