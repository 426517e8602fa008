"""What the system does for a process: names of files made durable, the id of the boot, the signals that end it."""

import os
import signal
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Blocks. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Return what is another after each boot; start times of processes are counted from there."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to end: also its terminal's, unless nohup(1) has it outlive that."""
    asked = [signal.SIGTERM, signal.SIGINT]
    return asked if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*asked, signal.SIGHUP]
