"""The highest epoch of any MDS obeyed: kept on disk, lower ones are refused (rule 25).

Beside it, of how many changes of its store an MDS has told: one that has fewer has an older copy (rule 6).
"""

import asyncio

from ..common.errors import NoSpace, StaleEpoch, Unavailable
from ..process.data_folder import DataFolder

_NAME = "mds-epoch"
_CHANGES = "mds-changes"
# Terms that may go by between two heartbeats. One request with a wild number must not shut out all MDS to come.
_AHEAD_MAX = 10_000


class Epochs:
    """Remembers the highest. Shared across awaits: ``highest`` and ``changes``, which only rise."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self.highest = int(folder.remembered(_NAME) or 0)
        self.changes = int(folder.remembered(_CHANGES) or 0)

    def obey(self, epoch: int, *, answered: bool = False) -> None:
        """Note the epoch of somebody who asks for something, or of the MDS that ``answered`` this metaserver.

        Raises StaleEpoch; NoSpace when it cannot be kept; Unavailable when a request is far ahead of what was answered.
        """
        if epoch < self.highest:
            raise StaleEpoch(f"from an MDS of epoch {epoch}; one of epoch {self.highest} was obeyed")
        if epoch > self.highest + _AHEAD_MAX and not answered:
            raise Unavailable(f"epoch {epoch} is far above {self.highest}, and the MDS has not told of it here yet")
        if epoch > self.highest:
            try:
                # Blocks for a sync; epochs rise only when another MDS begins to serve.
                self._folder.remember(_NAME, str(epoch))
            except OSError as error:
                raise NoSpace(f"the epoch of the MDS cannot be kept: {error.strerror}") from error
            self.highest = epoch

    async def note_changes(self, changes: int) -> None:
        """Note of how many changes an MDS that is obeyed has told. Raises NoSpace when it cannot be kept."""
        if changes > self.changes:
            try:
                await asyncio.to_thread(self._folder.remember, _CHANGES, str(changes))
            except OSError as error:
                raise NoSpace(f"what the MDS told cannot be kept: {error.strerror}") from error
            self.changes = max(self.changes, changes)
