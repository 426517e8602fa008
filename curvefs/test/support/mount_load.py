"""Somebody who works in a folder of a mount and knows what must be there: every fault is noted, nothing is retried."""

import threading
import time


class Workload(threading.Thread):
    """Creates, writes, reads, renames and deletes files in a folder, and checks what it sees, until it is stopped."""

    def __init__(self, folder):
        super().__init__()
        folder.mkdir()
        self.folder, self.faults, self.longest_s, self.rounds = folder, [], 0.0, 0
        self._stop_now = threading.Event()

    def run(self):
        with (self.folder / "open").open("w+") as kept:
            while not self._stop_now.is_set():
                began = time.monotonic()
                try:
                    self._round(kept)
                except (OSError, AssertionError) as error:
                    self.faults.append(repr(error))
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.rounds += 1

    def _round(self, kept):
        text = f"round {self.rounds}\n"
        one, other = self.folder / f"a{self.rounds}", self.folder / f"b{self.rounds}"
        one.write_text(text)
        one.rename(other)
        assert other.read_text() == text
        if self.rounds % 2:
            other.unlink()
        kept.write(text)
        kept.flush()

    def end(self):
        """Stop, and check everything once more."""
        self._stop_now.set()
        self.join(60)
        assert not self.is_alive()
        assert self.faults == []
        names = {f"b{number}" for number in range(0, self.rounds, 2)} | {"open"}
        assert {one.name for one in self.folder.iterdir()} == names
        assert (self.folder / "open").read_text() == "".join(f"round {number}\n" for number in range(self.rounds))
