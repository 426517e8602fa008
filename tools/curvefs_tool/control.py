"""The supervisor's control socket: one request and one reply, a JSON line each."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

NAME = "control"


class Control:
    """The listening side. Addressed through its folder's descriptor: a path may be longer than 107 bytes."""

    def __init__(self, data: Path) -> None:
        self._path = data / "run" / NAME
        self._path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.socket.bind(f"/proc/self/fd/{folder}/{NAME}")
        finally:
            os.close(folder)
        self._path.chmod(0o600)
        self.socket.listen(4)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._path.unlink(missing_ok=True)

    def answer(self, obey: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Take one request and reply to it."""
        connection, _ = self.socket.accept()
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            connection.settimeout(5.0)
            try:
                request = json.loads(stream.readline())
            except (ValueError, OSError):
                return
            connection.settimeout(None)
            reply = obey(request)
            try:
                stream.write(json.dumps(reply) + "\n")
                stream.flush()
            except OSError:
                return


def ask(data: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """Send a request to the supervisor and return its reply, however long that takes; None without a supervisor."""
    try:
        folder = os.open(data / "run", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(f"/proc/self/fd/{folder}/{NAME}")
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                line = stream.readline()
    finally:
        os.close(folder)
    if not line:
        return None
    reply: dict[str, Any] = json.loads(line)
    return reply
