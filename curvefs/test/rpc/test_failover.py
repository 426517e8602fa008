"""Which address is tried next."""

from curvefs.src.rpc.failover import Failover


def test_addresses_are_tried_in_turn():
    tried = Failover(["a", "b", "c"])
    for expected in ("a", "b", "c", "a"):
        assert tried.current() == expected
        tried.failed(expected)


def test_a_redirect_is_followed_once_and_then_counts_against_who_gave_it():
    tried = Failover(["a", "b", "c"])
    tried.redirected("a", "c")
    assert tried.current() == "c"
    tried.failed("c")
    assert tried.current() == "b"  # not "a" again, which would name "c" again


def test_a_redirect_to_nobody_or_to_itself_is_a_failure():
    tried = Failover(["a", "b"])
    tried.redirected("a", "")
    assert tried.current() == "b"
    tried.redirected("b", "b")
    assert tried.current() == "a"


def test_a_leader_outside_of_the_list_is_followed():
    tried = Failover(["a"])
    tried.redirected("a", "x")
    assert tried.current() == "x"
    tried.failed("x")
    assert tried.current() == "a"


def test_failures_of_calls_side_by_side_skip_nobody():
    tried = Failover(["a", "b", "c"])
    tried.failed("a")
    tried.failed("a")  # a second call had been sent there, too
    assert tried.current() == "b"
    tried.redirected("b", "c")
    tried.failed("b")
    assert tried.current() == "c"
