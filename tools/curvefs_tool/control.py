"""The supervisor's control socket: one request and one reply, a JSON line each.

Unix sockets' names may have 107 bytes and data folders longer ones, so both sides go by the folder's descriptor.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any, Self

NAME = "control"
REQUEST_TIMEOUT_S = 5.0


class Request:
    """One request, to be replied to once, now or later."""

    def __init__(self, connection: socket.socket, said: dict[str, Any]) -> None:
        self.said = said
        self._connection = connection

    def reply(self, said: dict[str, Any]) -> None:
        """Answer; nothing happens if nobody waits any more."""
        with self._connection:
            try:
                self._connection.sendall(json.dumps(said).encode() + b"\n")
            except OSError:
                return


class Control:
    """The listening side."""

    def __init__(self, data: Path) -> None:
        self._path = data / "run" / NAME
        self._path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.socket.bind(f"/proc/self/fd/{folder}/{NAME}")
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.close(folder)
        self._path.chmod(0o600)
        self.socket.listen(4)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._path.unlink(missing_ok=True)

    def accept(self) -> Request | None:
        """Take one request; None for one that makes no sense."""
        connection, _ = self.socket.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            with connection.makefile("rb") as stream:
                said = json.loads(stream.readline(65536))
        except (ValueError, OSError):
            said = None
        if isinstance(said, dict):
            return Request(connection, said)
        connection.close()
        return None


def ask(data: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """Send a request to the supervisor and return its reply; None if there is no supervisor, or it ended first.

    Waits as long as the supervisor works on it: storing what was written may take its time.
    """
    try:
        folder = os.open(data / "run", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(f"/proc/self/fd/{folder}/{NAME}")
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    line = stream.readline()
            except (FileNotFoundError, ConnectionError):
                return None
    finally:
        os.close(folder)
    reply: dict[str, Any] | None = json.loads(line) if line else None
    return reply
