"""The data folder of a server: whose it is, and what the server remembers of itself.

    lock      held by the process that uses the folder
    format    version of the folder's layout
    program   whose folder it is: curvefs-mds or curvefs-metaserver
    id        the server's own id, random, made once
    cluster   of an MDS: the id of the cluster it belongs to
    port      the port that was chosen when none was asked for, so that a restart has the same

Small files are replaced atomically: written beside, synced, renamed.
"""

import fcntl
import os
import uuid
from pathlib import Path

from ..common.addresses import parse_address
from ..common.errors import StartupError
from ..common.exits import ExitCode

FORMAT = 1
MDS, METASERVER = "curvefs-mds", "curvefs-metaserver"
# Of folders in which the program was not kept yet, and of the one that has servers' folders in it.
_MARKS = {MDS: ("kv", "cluster"), METASERVER: ("wal", "groups", "identity"), "curvefs-tool up": ("cluster.json",)}
_HARMLESS = {"lost+found", "lock", "format.new"}  # of a new disk, or of a start that was cut off


class DataFolder:
    """A data folder in use; close() lets go of it.

    program: whose it must be. why_alone: what to tell who wants a second process in it.
    Raises StartupError: DATA_FOLDER when it is in use, of a newer version, of something else or cannot be used.
    """

    def __init__(self, path: Path, program: str, *, why_alone: str = "") -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_others_files()
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except FileExistsError as error:
            raise StartupError(f"{path} is no folder", ExitCode.DATA_FOLDER) from error
        except OSError as error:
            raise StartupError(f"cannot use {path}: {error.strerror}", ExitCode.DATA_FOLDER) from error
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                told = ": ".join(part for part in (f"{path} is in use by another process", why_alone) if part)
                raise StartupError(told, ExitCode.DATA_FOLDER) from error
            try:
                self._check_format()
                self._check_program(program)
                self.server_id = self.remembered("id") or self.remember("id", str(uuid.uuid4()))
            except OSError as error:
                raise StartupError(f"cannot use {path}: {error.strerror}", ExitCode.DATA_FOLDER) from error
        except BaseException:
            os.close(self._lock)
            raise

    def address_to_listen(self, listen: str) -> str:
        """Return HOST:PORT to listen on: port 0 becomes the one that was chosen the last time, if any.

        Raises StartupError (DATA_FOLDER).
        """
        host, port = parse_address(listen)
        if port:
            return listen
        try:
            kept = self.remembered("port") or "0"
        except OSError as error:
            raise StartupError(f"cannot use {self.path}: {error.strerror}", ExitCode.DATA_FOLDER) from error
        try:
            host, port = parse_address(f"{host}:{kept}")
        except StartupError as error:
            reason = f"{self.path / 'port'} is damaged: {kept[:20]!r} is no port"
            raise StartupError(reason, ExitCode.DATA_FOLDER) from error
        return f"{host}:{port}"

    def remember_address(self, address: str) -> None:
        """Note the port that was chosen, for the next start. Raises StartupError."""
        _, port = parse_address(address)
        try:
            if self.remembered("port") != str(port):
                self.remember("port", str(port))
        except OSError as error:
            raise StartupError(f"cannot write to {self.path}: {error.strerror}", ExitCode.DATA_FOLDER) from error

    def close(self) -> None:
        """Let another process use the folder."""
        os.close(self._lock)

    def _refuse_others_files(self) -> None:
        names = {one.name for one in self.path.iterdir()}
        if "format" not in names and names - _HARMLESS:
            raise StartupError(f"{self.path} is not empty and no data folder", ExitCode.DATA_FOLDER)

    def _check_program(self, program: str) -> None:
        kept = self.remembered("program")
        marked = [one for one, names in _MARKS.items() if any((self.path / name).exists() for name in names)]
        found = [kept] if kept else marked or [program]
        if program not in found:
            reason = f"{self.path} is the data folder of {found[0][:20]}, not of {program}"
            raise StartupError(reason, ExitCode.DATA_FOLDER)
        if not kept:
            self.remember("program", program)

    def _check_format(self) -> None:
        found = self.remembered("format") or self.remember("format", str(FORMAT))
        if not found.isdigit() or int(found) > FORMAT:
            raise StartupError(
                f"{self.path} is of version {found[:20]}; this version of curvefs knows up to {FORMAT}",
                ExitCode.DATA_FOLDER,
            )

    def remembered(self, name: str) -> str:
        """Return what was remembered under a name, or ''."""
        try:
            return (self.path / name).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return ""

    def remember(self, name: str, text: str) -> str:
        """Keep a line of text under a name, atomically and durably, readable by the owner only."""
        beside = self.path / f"{name}.new"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self.path / name)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return text
