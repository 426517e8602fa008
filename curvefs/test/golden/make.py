"""Makes the golden files, with the very code that a metaserver writes them with: python -m curvefs.test.golden.make

Run it for a new format only, with a new name for each file: what lies in a folder of somebody's server is not made anew
either. LMDB's own files are left out: they differ between kinds of machines.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NoReturn

from curvefs.src.metaserver.copyset.folders import GroupFolders, GroupSettings, first_configuration
from curvefs.src.metaserver.copyset.group import Tools
from curvefs.src.metaserver.identity import Identity, keep_identity
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.storage.checkpoint import Checkpoints
from curvefs.src.metaserver.storage.environment import Applied, Environment
from curvefs.src.metaserver.storage.snapshot import write_snapshot
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.disk import OsDisk
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.segments import LogSettings, SegmentFiles
from curvefs.src.process.data_folder import METASERVER, DataFolder
from curvefs.src.raft.codec import encode_configuration, encode_hard_state
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.messages import HardState
from curvefs.src.raft.state import Settings as RaftSettings

FOLDER = Path(__file__).parent

SEGMENT = "wal-1.wal"
SNAPSHOT = "snapshot-1"
CHECKPOINT = "checkpoint-1.json"
GROUP = "group-1.json"
MARK = "state-1.mark"
IDENTITY = "identity-1"

SEGMENT_NUMBER = 1
BOOT_ID = "4b7b2f0c-0a35-4f7e-9d38-2f5e6b6d8a11"
SIZE = 1 << 20
MEMBERS = [(1, "10.0.0.1:6801"), (2, "10.0.0.2:6801"), (5, "10.0.0.5:6801")]
CONFIGURATION = Configuration((1, 2, 5), (1, 2), (7,), (*MEMBERS, (7, "10.0.0.7:6801")))
APPLIED = Applied(41, 6, 1_700_000_000_123_456_789)
STATE = {b"P\0\0\0\1": b"partition", b"i\0\0\0\1": bytes(range(256)), b"s\0\0\0\1": b""}
CHECKPOINT_BYTES = b"what an environment copied"
IDENTITY_SAID = Identity("cluster", 3, bytes(range(16)), bytes(range(32)))
RECORDS = [
    Record(RecordType.BEGIN, 7, 4, 10),
    Record(RecordType.HARD_STATE, 7, 5, 0, encode_hard_state(HardState(5, 2, 11))),
    Record(RecordType.ENTRY, 7, 5, 11, b"\0first"),
    Record(RecordType.ENTRY, 7, 5, 12, b"\0replaced"),
    Record(RecordType.ENTRY, 9, 1, 1, b"\1"),
]
LATER_RECORDS = [Record(RecordType.ENTRY, 7, 6, 12, b"\0second")]


def make(target: Path) -> None:
    """Make every golden file in a folder."""
    with TemporaryDirectory() as name:
        scratch = Path(name)
        _make_segment(scratch / "wal", target / SEGMENT)
        _make_snapshot(scratch / "g", target)
        _make_checkpoint(scratch / "c", target / CHECKPOINT)
        _make_group(scratch / "data", target / GROUP)
        folder = DataFolder(scratch / "identity", METASERVER)
        keep_identity(folder, IDENTITY_SAID)
        folder.close()
        shutil.copyfile(scratch / "identity" / "identity", target / IDENTITY)


def _make_segment(folder: Path, target: Path) -> None:
    folder.mkdir()

    def fatal(reason: str) -> NoReturn:
        raise AssertionError(reason)

    files = SegmentFiles(
        OsDisk(folder), recovery.recover(folder), LogSettings(reserve_bytes=0), salt=lambda: 0x5A17, fatal=fatal
    )
    files.append(RECORDS)
    files.append(LATER_RECORDS)
    files.close()
    shutil.copyfile(recovery.segment_path(folder, SEGMENT_NUMBER), target)


def _make_snapshot(folder: Path, target: Path) -> None:
    folder.mkdir()
    environment = Environment(folder, map_size=SIZE, boot_id=BOOT_ID)
    with environment.write() as txn:
        for key, value in STATE.items():
            txn.put(key, value)
        environment.put_configuration(txn, encode_configuration(CONFIGURATION))
        environment.put_applied(txn, APPLIED)
    write_snapshot(environment, target / SNAPSHOT, configuration=b"", should_stop=lambda: False)
    environment.close()
    shutil.copyfile(folder / "state.mark", target / MARK)


def _make_checkpoint(folder: Path, target: Path) -> None:
    environment: Any = SimpleNamespace(applied=APPLIED, copy=lambda descriptor: os.write(descriptor, CHECKPOINT_BYTES))
    made = Checkpoints(folder).make(environment)
    shutil.copyfile(made.path.with_suffix(".json"), target)


def _make_group(folder: Path, target: Path) -> None:
    folder.mkdir()
    clock: Any = SimpleNamespace(boottime_s=lambda: 0.0, time_ns=lambda: 0)
    outside: Any = SimpleNamespace()
    tools = Tools(clock, Metrics(), outside)
    folders = GroupFolders(folder, GroupSettings(SIZE, BOOT_ID, RaftSettings(), lambda: 0.5), tools)
    folders.wal.mkdir()
    (folder / "groups").mkdir()
    folders.make(7, 1, first_configuration(MEMBERS), HardState()).environment.close()
    shutil.copyfile(folder / "groups" / "7" / "group.json", target)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
