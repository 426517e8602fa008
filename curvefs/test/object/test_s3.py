"""The S3 store keeps the contract on a real server, and translates every error there is."""

import datetime as dt
import itertools
import secrets
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.credentials
import botocore.exceptions
import botocore.session
import pytest

from curvefs.src.common.errors import InvalidArgument
from curvefs.src.object import s3 as s3_module
from curvefs.src.object.check import check_store
from curvefs.src.object.protocol import ObjectNotFound, StoreFull, StoreRefused, StoreUnavailable
from curvefs.src.object.s3 import S3Store
from curvefs.src.object.signature import Credentials
from curvefs.src.object.url import open_store
from curvefs.test.object.contract import ObjectStoreContract

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def prefix():
    return f"test-{secrets.token_hex(8)}/"


@pytest.fixture(scope="module")
def opened(weed, prefix):
    """One for all: making a client takes boto3 longer than most tests."""
    store = S3Store("curvefs", prefix=prefix, endpoint=weed.endpoint, connections=10)
    yield store
    store.close()


@pytest.fixture
def store(opened):
    yield opened
    while found := opened.list(""):
        opened.delete([info.key for info in found])


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, store):
        return store


def test_prefix_separates_stores_of_one_bucket(weed, prefix, store):
    other = open_store(weed.url(prefix=f"{prefix}below"))
    whole = open_store(weed.url())
    other.put("k", b"below")
    store.put("k", b"above")
    assert other.get("k") == b"below"
    assert [info.key for info in other.list("")] == ["k"]
    assert [info.key for info in store.list("")] == ["below/k", "k"]
    assert whole.get(f"{prefix}k") == b"above"
    other.close()
    whole.close()


def test_listing_goes_on_over_pages_of_the_server(monkeypatch, store):
    monkeypatch.setattr(s3_module, "LIST_PAGE", 3)
    keys = [f"a/{n:02d}" for n in range(10)]
    for key in keys:
        store.put(key, b"x")
    assert [info.key for info in store.list("")] == keys
    assert [info.key for info in store.list("a/", "a/02", 5)] == keys[3:8]


def test_deletion_goes_on_over_several_requests(monkeypatch, store):
    monkeypatch.setattr(s3_module, "DELETE_BATCH", 4)
    keys = [f"a/{n:02d}" for n in range(10)]
    for key in keys:
        store.put(key, b"x")
    store.delete(keys)
    assert store.list("") == []


def test_listing_says_when_an_object_was_modified(store):
    store.put("k", b"x")
    (info,) = store.list("")
    assert 1_600_000_000 < info.modified_ns / 1e9 < 10_000_000_000


def every_call(store):
    return {
        "put": lambda: store.put("k", b"x"),
        "get": lambda: store.get("k"),
        "range": lambda: store.get("k", 1, 2),
        "delete": lambda: store.delete(["k"]),
        "list": lambda: store.list(""),
        "check": lambda: check_store(store),
    }


def check_refusal(store, *words, not_words=()):
    for name, call in every_call(store).items():
        with pytest.raises(StoreRefused) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text, name
        for word in words:
            assert word in text, name
        for word in not_words:
            assert word not in text, name
    store.close()


def test_missing_bucket_is_refused(weed):
    check_refusal(S3Store("nowhere", endpoint=weed.endpoint), "bucket 'nowhere' at", weed.endpoint, "does not exist")


def test_wrong_secret_is_refused_and_never_said(weed, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    store = S3Store("curvefs", endpoint=weed.endpoint)
    check_refusal(store, "credentials are refused", weed.endpoint, not_words=["wrong-secret"])


def test_unknown_access_key_is_refused_and_never_said(weed, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    check_refusal(S3Store("curvefs", endpoint=weed.endpoint), "credentials are refused", not_words=["stranger"])


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


@pytest.mark.usefixtures("no_credentials")
def test_no_credentials_are_refused():
    check_refusal(S3Store("curvefs", endpoint="http://127.0.0.1:1"), "no credentials")


def test_credentials_may_come_from_a_profile(weed, store, prefix, no_credentials):
    keys = weed.environment
    store.put("k", b"x")
    (no_credentials / "credentials").write_text(
        f"[mine]\naws_access_key_id={keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key={keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    by_profile = open_store(weed.url(prefix=prefix), profile="mine")
    assert by_profile.get("k") == b"x"
    by_profile.close()


@pytest.mark.parametrize(
    "refreshed",
    [
        {"access_key": "key", "secret_key": "secret", "token": "token", "expiry_time": "2020-01-01T00:00:00Z"},
        KeyError("secret"),
        ValueError("secret"),
    ],
)
def test_credentials_of_a_role_that_cannot_be_renewed_are_refused_and_never_said(monkeypatch, refreshed):
    """Renewed ones that have expired already are a plain RuntimeError of the SDK."""
    expired = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

    def refresh():
        if isinstance(refreshed, Exception):
            raise refreshed
        return refreshed

    role = botocore.credentials.RefreshableCredentials("key", "secret", "token", expired, refresh, "iam-role")
    monkeypatch.setattr(botocore.session.Session, "get_credentials", lambda _: role)
    store = S3Store("curvefs", endpoint="http://127.0.0.1:1")
    check_refusal(store, "credentials", "cannot be renewed", not_words=["secret", "token"])


@pytest.mark.usefixtures("no_credentials")
def test_unknown_profile_is_refused_at_once():
    with pytest.raises(StoreRefused, match="nobody"):
        S3Store("curvefs", profile="nobody")


def test_prefix_counts_for_the_length_of_a_key(weed):
    store = S3Store("curvefs", prefix="p" * 200 + "/", endpoint=weed.endpoint)
    with pytest.raises(InvalidArgument):
        store.put("/".join(["x" * 200] * 5), b"x")
    store.close()


def test_nobody_listening_is_an_outage(weed):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        store = S3Store("curvefs", endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")
        for call in every_call(store).values():
            with pytest.raises(StoreUnavailable, match="EndpointConnectionError|NewConnectionError"):
                call()
        store.close()


def test_server_that_comes_back_serves_the_same_store(weed_of_my_own):
    """Pooled connections of before the outage do not stay broken: one failed call each at most."""
    store = open_store(weed_of_my_own.url())
    store.put("k", b"x")
    weed_of_my_own.kill()
    with pytest.raises(StoreUnavailable):
        store.get("k")
    weed_of_my_own.start()
    assert store.get("k") == b"x"
    store.put("l", b"y")
    assert [info.key for info in store.list("")] == ["k", "l"]
    store.close()


def test_frozen_server_is_given_up_after_the_timeout(weed_of_my_own, monkeypatch):
    monkeypatch.setattr(s3_module, "READ_TIMEOUT_S", 0.2)
    store = open_store(weed_of_my_own.url())
    weed_of_my_own.suspend()
    try:
        with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
            store.put("k", b"x")
    finally:
        weed_of_my_own.resume()
    store.close()


class ScriptedServer(ThreadingHTTPServer):
    """Answers what the test says; ``asked`` holds the requests, ``store`` is a store on it."""

    daemon_threads = True
    answer: tuple[int, dict[str, str], bytes]
    store: S3Store

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class Answers(BaseHTTPRequestHandler):
    """Gives every request the answer that its server holds."""

    server: ScriptedServer
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)  # also notes "Connection: close"
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815 # names of http.server

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.store = S3Store("bucket", endpoint=f"http://127.0.0.1:{server.server_port}")
    yield server
    server.store.close()
    server.shutdown()
    thread.join()
    server.server_close()


def error_body(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>line one\nline two</Message></Error>".encode()


REFUSALS = [
    (403, code)
    for code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Unheard", "AllAccessDisabled")
]
REFUSALS += [(404, "NoSuchBucket"), (401, "Unauthorized"), (400, "ExpiredToken"), (403, "RequestTimeTooSkewed")]
OUTAGES = [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable"), (502, ""), (429, "TooManyRequests")]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(*one, StoreRefused) for one in REFUSALS]
    + [(*one, StoreUnavailable) for one in OUTAGES]
    + [(507, "InsufficientStorage", StoreFull), (507, "", StoreFull), (500, "InsufficientStorage", StoreFull)],
)
def test_errors_of_s3_become_ours_after_one_attempt(scripted, status, code, expected):
    scripted.answer = (status, {"Content-Type": "application/xml"}, error_body(code) if code else b"")
    for name, call in every_call(scripted.store).items():
        scripted.asked.clear()
        with pytest.raises(expected) as caught:
            call()
        assert "bucket 'bucket' at http://127.0.0.1:" in str(caught.value), name
        assert "\n" not in str(caught.value), name
        assert len(scripted.asked) == 1, name


def test_missing_key_is_not_found_only_where_an_object_was_asked_for(scripted):
    scripted.answer = (404, {}, error_body("NoSuchKey"))
    with pytest.raises(ObjectNotFound, match="no object k"):
        scripted.store.get("k")
    with pytest.raises(StoreUnavailable):
        scripted.store.list("")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", StoreUnavailable),
        (b"<html>404 page not found</html>", StoreUnavailable),
        (error_body("NoSuchKey"), StoreUnavailable),
        (error_body("NoSuchBucket"), StoreRefused),
    ],
)
def test_put_that_is_answered_404_does_not_miss_an_object(scripted, body, expected):
    scripted.answer = (404, {}, body)
    with pytest.raises(expected):
        scripted.store.put("k", b"x")


@pytest.mark.parametrize("body", [b"", b"<html>404 page not found</html>", error_body("NotFound")])
def test_404_that_is_none_of_s3_is_an_outage_and_no_missing_object(scripted, body):
    """A gateway whose backend is away: the object may be there."""
    scripted.answer = (404, {}, body)
    for name, call in every_call(scripted.store).items():
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert "404" in str(caught.value) or "NotFound" in str(caught.value), name


def test_error_in_the_answer_to_a_deletion_is_raised(scripted):
    def result(code: str) -> bytes:
        return f"<DeleteResult><Error><Key>k</Key><Code>{code}</Code></Error></DeleteResult>".encode()

    for code, expected in (("InternalError", StoreUnavailable), ("AccessDenied", StoreRefused)):
        scripted.answer = (200, {}, result(code))
        with pytest.raises(expected, match="k was not deleted"):
            scripted.store.delete(["k"])
    scripted.answer = (200, {}, result("NoSuchKey"))
    scripted.store.delete(["k"])


def test_answer_that_ends_early_is_no_object(scripted):
    scripted.answer = (200, {"Content-Length": "1000", "Connection": "close"}, b"only this")
    with pytest.raises(StoreUnavailable):
        scripted.store.get("k")


def test_server_without_ranges_still_gives_the_range(scripted):
    scripted.answer = (200, {}, b"0123456789")
    assert scripted.store.get("k", 3, 4) == b"3456"
    assert scripted.store.get("k", 3) == b"3456789"


def test_part_that_does_not_say_which_one_it_is_is_no_answer(scripted):
    scripted.answer = (206, {}, b"3456")
    with pytest.raises(StoreUnavailable, match="which part"):
        scripted.store.get("k", 3, 4)


def test_truncated_listing_that_does_not_go_on_is_an_error(scripted):
    """Taken for the whole, it would let objects be forgotten."""
    scripted.answer = (200, {}, b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")
    with pytest.raises(StoreUnavailable, match="does not go on"):
        scripted.store.list("")


def test_bodies_are_sent_at_once_unsigned_and_without_checksums(scripted):
    scripted.answer = (200, {}, b"")
    scripted.store.put("k", b"x" * 100)
    ((method, path, headers),) = scripted.asked
    assert (method, path) == ("PUT", "/bucket/k")
    sent = {name.lower(): value for name, value in headers.items()}
    assert sent["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert [name for name in sent if "checksum" in name or name in ("content-md5", "content-encoding", "expect")] == []


def test_every_request_has_the_credentials_of_its_time(scripted, monkeypatch):
    """Temporary ones are replaced while the store is open; botocore does that behind get_credentials()."""
    scripted.answer = (200, {}, b"")
    tokens = iter(["first", "second"])
    monkeypatch.setattr(scripted.store._requests, "_credentials", lambda: Credentials("key", "secret", next(tokens)))
    scripted.store.put("k", b"")
    scripted.store.get("k")
    sent = [{name.lower(): value for name, value in headers.items()} for _, _, headers in scripted.asked]
    assert [one["x-amz-security-token"] for one in sent] == ["first", "second"]
    assert all("x-amz-security-token" in one["authorization"] for one in sent)


def test_temporary_credentials_send_their_token(scripted, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    store = S3Store("bucket", endpoint=f"http://127.0.0.1:{scripted.server_port}")
    scripted.answer = (200, {}, b"")
    store.get("k")
    store.close()
    assert {name.lower(): value for name, value in scripted.asked[0][2].items()}["x-amz-security-token"] == "temporary"


def test_what_is_to_be_sent_elsewhere_is_left_to_the_sdk_which_says_why_it_cannot(scripted):
    scripted.answer = (400, {}, error_body("AuthorizationHeaderMalformed"))
    for call in (lambda: scripted.store.put("k", b"x"), lambda: scripted.store.get("k")):
        scripted.asked.clear()
        with pytest.raises(StoreRefused, match="another region"):
            call()
        assert len(scripted.asked) > 1


def test_requests_go_through_the_proxy_of_the_environment(scripted, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{scripted.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    store = S3Store("bucket", endpoint="http://s3.invalid:9000")
    scripted.answer = (200, {}, b"x")
    assert store.get("a/k") == b"x"
    store.close()
    ((_, path, headers),) = scripted.asked
    assert path == "http://s3.invalid:9000/bucket/a/k"
    assert headers["Host"] == "s3.invalid:9000"


@pytest.mark.parametrize(
    ("endpoint", "bucket", "url"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "work", "https://work.s3.eu-west-1.amazonaws.com"),
        ("https://s3.eu-west-1.amazonaws.com", "a.b", "https://s3.eu-west-1.amazonaws.com/a.b"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "work", "https://work.s3.cn-north-1.amazonaws.com.cn"),
        ("http://127.0.0.1:8333", "work", "http://127.0.0.1:8333/work"),
        ("https://host/below/", "work", "https://host/below/work"),
    ],
)
def test_bucket_has_a_name_of_its_own_at_aws_only(endpoint, bucket, url):
    assert s3_module._bucket_url(endpoint, bucket) == url


def all_subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    return itertools.chain([kind], *(all_subclasses(one) for one in kind.__subclasses__()))


def test_every_error_of_the_sdk_becomes_ours(scripted):
    for kind in set(all_subclasses(botocore.exceptions.BotoCoreError)):
        error = kind.__new__(kind)
        Exception.__init__(error, "first line\nsecond line")
        with pytest.raises((StoreUnavailable, StoreRefused)) as caught, scripted.store._translated("k"):
            raise error
        assert "\n" not in str(caught.value), kind
