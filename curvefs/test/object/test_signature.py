"""Our signature is the one that botocore makes."""

import time
from unittest.mock import patch

import botocore.auth
import botocore.credentials
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.object.signature import Credentials, Signer

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
PATHS = st.lists(st.text("abcXYZ019-._~", min_size=1, max_size=20).filter(lambda part: part.strip(".")), min_size=1)
HOSTS = st.sampled_from(["127.0.0.1:8333", "bucket.s3.eu-west-1.amazonaws.com", "minio.example", "[::1]:9000"])
CONFIG = Config(s3={"payload_signing_enabled": False})


def botocores(host, region, credentials, method, path, time_s) -> HTTPHeaders:
    keys = botocore.credentials.Credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    request = AWSRequest(method, f"https://{host}{path}")
    request.context["client_config"] = CONFIG
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_s))
    with patch("botocore.auth.get_current_datetime") as now:
        now.return_value.strftime.return_value = moment
        botocore.auth.S3SigV4Auth(keys, "s3", region).add_auth(request)
    return request.headers


@settings(deadline=None)
@given(HOSTS, WORDS, WORDS, st.just("") | WORDS, st.sampled_from(["GET", "PUT"]), PATHS, st.integers(0, 2**32))
def test_signature_is_botocores(host, access_key, secret_key, token, method, parts, time_s):
    credentials, path = Credentials(access_key, secret_key, token), "/" + "/".join(parts)
    theirs = botocores(host, "eu-west-1", credentials, method, path, time_s)
    ours = Signer(host, "eu-west-1").headers(credentials, method, path, time_s)
    assert {name.lower(): value for name, value in ours.items()} == {
        name.lower(): value for name, value in theirs.items()
    }


def test_key_follows_the_day_and_the_secret():
    signer = Signer("host", "us-east-1")
    first = Credentials("a", "one", "")
    for credentials, time_s in ((first, 0), (first, 86_400), (Credentials("a", "two", ""), 86_400), (first, 0)):
        fresh = Signer("host", "us-east-1").headers(credentials, "GET", "/k", time_s)
        assert signer.headers(credentials, "GET", "/k", time_s) == fresh
