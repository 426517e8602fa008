"""A log that is damaged as a whole: set aside on an operator's word, and with it the states of all groups. Blocks.

What this metaserver voted and promised may be in the damaged part, so none of its replicas may go on. Of each group
stays its description alone; a replica that has neither a log nor a state is damaged (recovery.py): it serves nothing,
says so to whoever asks, also after another restart, and is rebuilt from its peers. Nothing is deleted.

    DATA/damaged-<n>/wal, groups     what was there
    DATA/groups.aside                the descriptions, while they are being made

Invariants:
    the damaged log goes last: a stop before that leaves a metaserver that refuses to start, and this is done again
"""

import shutil
from pathlib import Path

import structlog

from ...common.errors import StartupError
from ...common.exits import ExitCode
from ...common.machine import sync_folder
from ..storage.environment import write_durably
from ..wal import recovery as wal_recovery
from .folders import GROUP_FILE

_log = structlog.get_logger()


def set_damaged_log_aside(folder: Path) -> None:
    """Set aside what belongs to a damaged log; nothing when it is good. folder: the data folder, in use by us.

    Raises StartupError: what is wrong with the log other than damage; FAILED when files cannot be moved.
    """
    try:
        if not (folder / "wal").exists():
            return
        try:
            wal_recovery.recover(folder / "wal")
        except StartupError as error:
            if error.exit_code is not ExitCode.DAMAGED:
                raise
            aside = _move(folder)
            _log.error("a damaged log was set aside with its groups", reason=str(error), folder=str(aside))
    except OSError as error:
        raise StartupError(f"cannot set aside what is in {folder}: {error.strerror}", ExitCode.FAILED) from error


def _move(folder: Path) -> Path:
    wal, groups, bare = folder / "wal", folder / "groups", folder / "groups.aside"
    aside = _place(folder)
    if not (aside / "groups").exists():
        shutil.rmtree(bare, ignore_errors=True)
        bare.mkdir()
        for one in sorted(groups.glob(f"*/{GROUP_FILE}")):
            (bare / one.parent.name).mkdir()
            write_durably(bare / one.parent.name / GROUP_FILE, one.read_bytes())
        sync_folder(bare)
        groups.rename(aside / "groups")
    if bare.exists():
        bare.rename(groups)  # over an empty folder, if a start has made one meanwhile
    for changed in (aside, folder):
        sync_folder(changed)
    wal.rename(aside / "wal")
    for changed in (aside, folder):
        sync_folder(changed)
    return aside


def _place(folder: Path) -> Path:
    """Return the folder of an attempt that was not finished, or a new one."""
    number = 1
    while (folder / f"damaged-{number}" / "wal").exists():
        number += 1
    aside = folder / f"damaged-{number}"
    aside.mkdir(mode=0o700, exist_ok=True)
    return aside
