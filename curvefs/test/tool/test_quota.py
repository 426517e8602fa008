"""``curvefs-tool quota`` where the filesystem's metaservers do not get done."""

import pytest
from click.testing import CliRunner
from curvefs_tool.main import main
from curvefs_tool.quota import change

from curvefs.proto import quota_pb2, transaction_pb2
from curvefs.src.common.exits import ExitCode

COUNTING = quota_pb2.DirectoryQuota(
    path=b"/a", status=transaction_pb2.QuotaStatus(quota_id=3, state=transaction_pb2.QuotaStatus.COUNTING)
)


class BusyQuotas:
    """Quotas that stay as they are."""

    def __init__(self, *_):
        pass

    def call(self, *_):
        return quota_pb2.QuotasReply(quotas=[COUNTING])

    def of(self, _):
        return COUNTING


@pytest.fixture(autouse=True)
def busy(monkeypatch):
    monkeypatch.setattr(change, "Quotas", BusyQuotas)
    monkeypatch.setattr(change, "WAIT_S", 0.0)


def run(*words):
    return CliRunner().invoke(main, ["quota", *words, "--fs", "demo", "--mds", "h:1"], prog_name="curvefs-tool")


@pytest.mark.parametrize(
    ("words", "reason"), [(("set", "/a", "--inodes", "5"), "is counting still"), (("delete", "/a"), "is being removed")]
)
def test_a_change_that_is_not_done_in_time_ends_with_a_code_of_its_own(words, reason):
    done = run(*words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (ExitCode.TIMEOUT, "", 1)
    assert reason in done.stderr
    assert run(*words, "--no-wait").exit_code == ExitCode.OK
