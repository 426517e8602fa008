"""Every status code has an error and every error an errno; the two tables cannot drift apart."""

import errno

import pytest

from curvefs.proto import common_pb2 as pb
from curvefs.src.common import errors, status


def subclasses(cls):
    """Those of the hierarchy itself: which modules with errors of their own are loaded, other tests decide."""
    found = {c for sub in cls.__subclasses__() for c in {sub} | subclasses(sub)}
    return {c for c in found if c.__module__ == errors.__name__}


@pytest.mark.parametrize("code", [c for c in pb.StatusCode.values() if c != pb.OK])
def test_every_code_survives_the_round_trip(code):
    error = status.error_of_code(code, "because")
    assert status.code_of(error) == code
    assert str(error) == "because"
    assert status.failure_of(error).code == code


@pytest.mark.parametrize("cls", sorted(subclasses(errors.FilesystemError), key=lambda c: c.__name__))
def test_every_filesystem_error_has_a_code_and_an_errno(cls):
    assert status.code_of(cls()) != pb.INTERNAL
    assert status.errno_of(cls()) in errno.errorcode


@pytest.mark.parametrize("cls", sorted(subclasses(errors.ClusterError), key=lambda c: c.__name__))
def test_every_cluster_error_has_a_code_and_reaches_an_application_as_eio(cls):
    assert cls is errors.InternalError or status.code_of(cls()) != pb.INTERNAL
    assert status.errno_of(cls()) == errno.EIO


def test_facts_travel_with_their_errors():
    redirect = status.error_of(status.failure_of(errors.Redirect("no", leader="h:1")))
    assert isinstance(redirect, errors.Redirect)
    assert redirect.leader == "h:1"
    gap = status.error_of(status.failure_of(errors.SequenceGap("gap", expected_sequence=7)))
    assert isinstance(gap, errors.SequenceGap)
    assert gap.expected_sequence == 7
