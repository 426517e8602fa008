"""Blocks on local disks, in several folders: a block lives in the folder that its name says, whichever are in use.

Each folder draws a number for a block from a hash, the highest one has it (rendezvous hashing); so a folder that comes
or goes moves no block between the others. Each has an equal share of the size. While one is set aside its blocks are
read from the store.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .folder import CacheFolder, key_of
from .limits import BLOCKS_MAX, Limits


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """folders: at least one. size in bytes, of all together; free_space: the share of each disk that stays free."""

    folders: tuple[Path, ...]
    size: int = 20 << 30
    free_space: float = 0.1


class DiskCache:
    """See the module. Safe from many threads; no call raises. Raises StartupError when it cannot begin."""

    def __init__(self, config: CacheConfig, uuid: UUID) -> None:
        count = len(config.folders)
        limits = Limits(config.size // count, max(1, BLOCKS_MAX // count), config.free_space)
        self.folders: list[CacheFolder] = []
        self.misses = 0
        self.uuid = uuid
        try:
            for one in config.folders:
                self.folders.append(CacheFolder(one, uuid, limits))
        except BaseException:
            self.close()
            raise

    def limit_memory(self, size: int) -> int:
        """Let blocks on their way to disk take so much memory; returns what they take at most."""
        for one in self.folders:
            one.queue_bytes_max = min(one.queue_bytes_max, size // len(self.folders))
        return sum(one.queue_bytes_max for one in self.folders)

    def start(self) -> None:
        """Begin to look what is there, and to keep."""
        for one in self.folders:
            one.start()

    def close(self) -> None:
        """End; what is not written yet is not kept."""
        for one in self.folders:
            one.close()

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes | None:
        """Return a range of a block, short only at its end; None if it is not here."""
        found = self.folder_of(name).get(name, start, size)
        self.misses += found is None
        return found

    def keep(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Have a whole block kept; it must not change meanwhile."""
        self.folder_of(name).keep(name, data if isinstance(data, bytes) else bytes(data))

    def keep_now(self, name: str, data: bytes) -> bool:
        """Keep a block before anything else goes on; says whether it is kept."""
        return self.folder_of(name).keep_now(name, data)

    def adopt(self, name: str, file: Path, size: int) -> bool:
        """Take over a file that holds a block, if it is on the disk where that block lives."""
        return self.folder_of(name).adopt(name, file, size)

    def has(self, name: str) -> bool:
        """Say whether a block is here."""
        return self.folder_of(name).has(name)

    def drop(self, name: str) -> bool:
        """Remove a block; says whether it was here."""
        return self.folder_of(name).drop(name)

    def settle(self) -> None:
        """Wait until everything that was to be kept is; for tests and tools."""
        for one in self.folders:
            one.settle()

    def folder_of(self, name: str) -> CacheFolder:
        """Return the folder in which a block lives."""
        return self.folders[_chosen(key_of(name), [str(one.cache_dir) for one in self.folders])]


def _chosen(key: int, folders: Sequence[str]) -> int:
    """Return the number of the folder that a key belongs to."""
    if len(folders) == 1:
        return 0
    draws = [hashlib.blake2b(f"{key:x} {one}".encode(), digest_size=8).digest() for one in folders]
    return draws.index(max(draws))


class DiskCacheCollector(Collector):
    """The figures of all folders, read when scraped."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """Yield the present values."""
        yield CounterMetricFamily(
            "curvefs_client_disk_cache_misses", "Reads that no cache folder could answer", value=self._cache.misses
        )
        counters = {
            name: CounterMetricFamily(f"curvefs_client_disk_cache_{name}", text, labels=["folder"])
            for name, text in _COUNTERS.items()
        }
        gauges = {
            name: GaugeMetricFamily(f"curvefs_client_disk_cache_{name}", text, labels=["folder"])
            for name, text in _GAUGES.items()
        }
        for folder in self._cache.folders:
            labels = [str(folder.cache_dir)]
            for name, counter in counters.items():
                counter.add_metric(labels, getattr(folder.counts, name))
            for name, gauge in gauges.items():
                gauge.add_metric(labels, getattr(folder, name))
        yield from counters.values()
        yield from gauges.values()


_COUNTERS = {
    "hits": "Reads answered",
    "hit_bytes": "Bytes of them",
    "kept": "Blocks added",
    "kept_bytes": "Bytes of them",
    "evicted": "Blocks pushed out by the limits",
    "evicted_bytes": "Bytes of them",
    "skipped": "Blocks not added: the disk is full or does not keep up",
    "damaged": "Blocks dropped because they were not what they should be",
    "failures": "Calls that failed or were slow",
}
_GAUGES = {
    "size": "Bytes kept",
    "blocks": "Blocks kept",
    "in_use": "1, or 0 while the folder is set aside",
}
