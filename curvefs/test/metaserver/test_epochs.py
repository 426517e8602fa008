"""What a metaserver has heard of the MDS: in force when it is on disk."""

import asyncio
import errno

import pytest

from curvefs.src.common.errors import NoSpace, StaleEpoch, Unavailable
from curvefs.src.metaserver.epochs import Epochs


class Folder:
    """A data folder whose disk may be full."""

    def __init__(self):
        self.kept, self.is_full = {}, False

    def remembered(self, name):
        return self.kept.get(name, "")

    def remember(self, name, text):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.kept[name] = text


def test_a_number_of_changes_that_a_full_disk_did_not_take_is_kept_when_it_is_told_again():
    folder = Folder()
    epochs = Epochs(folder)
    asyncio.run(epochs.note_changes(10))
    folder.is_full = True
    with pytest.raises(NoSpace):
        asyncio.run(epochs.note_changes(500))
    assert epochs.changes == 10
    folder.is_full = False
    asyncio.run(epochs.note_changes(500))
    assert (epochs.changes, Epochs(folder).changes) == (500, 500)


def test_a_request_with_a_wild_epoch_does_not_shut_out_the_mds():
    epochs = Epochs(Folder())
    epochs.obey(20_000, answered=True)
    with pytest.raises(Unavailable, match="far above 20000"):
        epochs.obey(2**64 - 1)
    epochs.obey(20_001)
    with pytest.raises(StaleEpoch):
        epochs.obey(20_000)
