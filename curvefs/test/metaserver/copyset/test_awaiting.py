"""A view that may be old says nothing: neither by what is found in it, nor by what is not."""

import contextlib

import pytest

from curvefs.proto import common_pb2
from curvefs.src.common.errors import Unavailable
from curvefs.src.metaserver.copyset import awaiting
from curvefs.src.metaserver.metastore.scope import Refusal

pytestmark = pytest.mark.asyncio


class DeposedLeader:
    """Its state is old until it has heard that it was confirmed, if it ever is."""

    def __init__(self, *, is_confirmed):
        self.state = "old"
        self.is_confirmed = is_confirmed
        self._waiting = []

    @contextlib.contextmanager
    def view(self):
        yield self.state

    def may_answer(self):
        return False

    def confirm_read(self, complete):
        self._waiting.append(complete)

    def act(self):
        for complete in self._waiting:
            if self.is_confirmed:
                self.state = "new"
                complete(None)
            else:
                complete(Unavailable("another one leads"))


def refuse_old(state):
    if state == "old":
        raise Refusal(common_pb2.NOT_FOUND)
    return state


async def test_a_refusal_from_an_old_state_is_looked_at_again():
    assert await awaiting.read(DeposedLeader(is_confirmed=True), refuse_old, 1.0) == "new"


async def test_a_refusal_that_is_not_confirmed_is_not_told():
    with pytest.raises(Unavailable):
        await awaiting.read(DeposedLeader(is_confirmed=False), refuse_old, 1.0)


async def test_a_refusal_from_the_new_state_is_told():
    def refuse(_):
        raise Refusal(common_pb2.NOT_FOUND)

    with pytest.raises(Refusal):
        await awaiting.read(DeposedLeader(is_confirmed=True), refuse, 1.0)
