"""The highest epoch of any MDS obeyed: kept on disk, lower ones are refused (rule 25)."""

from ..common.errors import NoSpace, StaleEpoch
from ..process.data_folder import DataFolder

_NAME = "mds-epoch"


class Epochs:
    """Remembers the highest epoch. Shared across awaits: ``highest``, which only rises."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self.highest = int(folder.remembered(_NAME) or 0)

    def obey(self, epoch: int) -> None:
        """Note the epoch of somebody who asks for something. Raises StaleEpoch; NoSpace when it cannot be kept."""
        if epoch < self.highest:
            raise StaleEpoch(f"from an MDS of epoch {epoch}; one of epoch {self.highest} was obeyed")
        if epoch > self.highest:
            try:
                # Blocks for a sync; epochs rise only when another MDS begins to serve.
                self._folder.remember(_NAME, str(epoch))
            except OSError as error:
                raise NoSpace(f"the epoch of the MDS cannot be kept: {error.strerror}") from error
            self.highest = epoch
