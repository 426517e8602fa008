"""One mount from beginning to end: session, object store, kernel, event loop; and back down.

Order up: a session at the MDS, the object store, the kernel mount, then the event loop with the metaserver streams,
the data path and the kernel's requests; ready once the root directory answers through the kernel. Order down (after
an unmount or SIGTERM): no more requests, everything written is stored and published, the session is closed.
"""

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import structlog
import trio
from prometheus_client import CollectorRegistry

from ...proto import mds_pb2, mds_pb2_grpc
from ..common.addresses import parse_address
from ..common.clock import SystemClock
from ..common.data_keys import check_key, read_key
from ..common.errors import CurveFSError, FilesystemGone, NotFound, ResourceBusy, StartupError, Unreachable
from ..common.exits import ExitCode
from ..common.ids import ROOT_INODE
from ..common.machine import ending_signals
from ..object.protocol import ObjectStore, ObjectStoreError
from ..object.url import FolderLocation, open_store, parse_store_url
from ..rpc.blocking import BlockingClient
from ..slices.block_formats import block_format
from ..slices.geometry import Geometry
from . import control, runtime
from .background import kept
from .cache.disk_cache import CacheConfig, DiskCache
from .cache.staging import Staging, StagingFailed
from .data.data_path import DataConfig, DataPath
from .fuse import binding
from .metadata.cache import MetadataCache
from .metadata.client import MetadataClient
from .metadata.ids import IdRanges
from .metadata.router import Router
from .metadata.session import MountSession
from .metadata.slices import SliceCalls
from .metrics import CacheCollector, ClientMetrics, ReleasesCollector
from .mountpoints import check_apart
from .options import MountConfig
from .vfs.filesystem import Vfs
from .vfs.kernel_pages import KernelPages
from .vfs.kernel_view import KernelView

log = structlog.get_logger()

MDS_DEADLINE_S = 10.0
READY_DEADLINE_S = 30.0
FOUND_STAGED_WAIT_S = 45.0  # what was staged before is read from the disk if it takes longer to store it
# Of the kernel, answered at once: as good as no limit. Each thread of a program may wait for one, for the object store
# or for pages that the kernel holds for a READ; were there no task left to take that READ, none would ever go on. One
# that waits takes about 16 KiB, and a write twice its bytes.
REQUESTS_MAX = 1 << 17
READ_AHEAD_KIB = 1024
M_MMAP_THRESHOLD = -3  # malloc.h
MMAP_THRESHOLD = 1 << 20
BACKGROUND_MAX = 64


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is wired before the event loop runs."""

    session: MountSession
    store: ObjectStore
    router: Router
    metadata: MetadataClient
    data: DataPath
    vfs: Vfs
    binding: binding.Binding
    staging: Staging | None


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a mount stands on before it has a session."""

    metrics: ClientMetrics
    registry: CollectorRegistry
    metrics_address: str
    mds: BlockingClient
    disk: DiskCache | None
    staging: Staging | None


def run_mount(config: MountConfig, ready: Callable[[], None]) -> None:
    """Mount, serve until unmounted or told to stop, and leave nothing unstored.

    ``ready`` is called once the mount is live. Raises StartupError when it cannot be mounted.
    """
    _give_memory_back()
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry)
    metrics_address = _serve_metrics(metrics, config.metrics)
    mds = BlockingClient(config.mds, deadline_s=MDS_DEADLINE_S)
    disk = _open_cache(config, mds)
    try:
        _run(config, ready, _Ground(metrics, registry, metrics_address, mds, disk, _open_staging(config, disk)))
    finally:
        if disk is not None:
            disk.close()


def _run(config: MountConfig, ready: Callable[[], None], ground: _Ground) -> None:
    session = _open_session(config, ground)
    try:
        parts = _wire(config, session, ground)
        options = set(config.kernel_options) | ({"ro"} if config.read_only else set())
        if config.allow_other:
            options.add("allow_other")
        try:
            binding.mount(parts.binding, config.fs_name, config.mountpoint, options)
        except RuntimeError as error:
            raise StartupError(f"cannot mount on {config.mountpoint}: {error}", ExitCode.MOUNTPOINT) from error
    except BaseException:
        trio.run(partial(session.close, end_identity=False))
        raise
    try:
        trio.run(_serve, parts, config, ready)
    finally:
        binding.detach(unmount=True)
        parts.store.close()


def _give_memory_back() -> None:
    """Have the C library return the memory of large buffers to the system as soon as they are freed.

    Left alone it raises its threshold with use and keeps freed blocks: a third of the memory budget on top.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: nothing is promised there
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)


def _data_key(config: MountConfig, filesystem: mds_pb2.Filesystem) -> bytes:
    """Return the key of an encrypted filesystem, b'' for another one. Raises StartupError (REFUSED)."""
    name = filesystem.name
    try:
        block_format(filesystem.block_format)
    except CurveFSError as error:
        raise StartupError(f"filesystem '{name}': {error}", ExitCode.REFUSED) from error
    if filesystem.key_check and not config.key_file:
        raise StartupError(f"filesystem '{name}' is encrypted: mount it with key_file=FILE", ExitCode.REFUSED)
    if config.key_file and not filesystem.key_check:
        raise StartupError(f"filesystem '{name}' is not encrypted: mount it without key_file", ExitCode.REFUSED)
    if not config.key_file:
        return b""
    try:
        key = read_key(Path(config.key_file))
        check_key(key, filesystem.key_check, name, Path(config.key_file))
    except CurveFSError as error:
        raise StartupError(str(error), ExitCode.REFUSED) from error
    return key


def _serve_metrics(metrics: ClientMetrics, listen: str) -> str:
    host, port = parse_address(listen)
    try:
        return f"{host}:{metrics.serve(host.strip('[]'), port)}"
    except OSError as error:
        raise StartupError(f"cannot serve metrics on {listen}: {error.strerror}", ExitCode.ADDRESS_IN_USE) from error


def _open_session(config: MountConfig, ground: _Ground) -> MountSession:
    staging = ground.staging
    session = MountSession(
        ground.mds,
        mds_pb2.OpenSessionRequest(
            name=config.fs_name,
            host=socket.gethostname(),
            pid=os.getpid(),
            mountpoint=config.mountpoint,
            read_only=config.read_only,
            metrics_address=ground.metrics_address,
            version=version("curvefs"),
            identity=staging.identity if staging is not None else b"",
            continues=staging is not None and staging.found_identity,
            uuid=ground.disk.uuid.bytes if ground.disk is not None else b"",
        ),
        SystemClock(),
        new_identity=staging.renew_identity if staging is not None else bytes,
    )
    with _refusals(config):
        session.open_blocking()
    return session


@contextlib.contextmanager
def _refusals(config: MountConfig) -> Iterator[None]:
    """Say what the MDS refuses as a person is to read it."""
    try:
        yield
    except (NotFound, FilesystemGone) as error:
        raise StartupError(f"there is no filesystem '{config.fs_name}'", ExitCode.NOT_FOUND) from error
    except Unreachable as error:
        raise StartupError(f"cannot reach the MDS: {error}", ExitCode.UNREACHABLE) from error
    except ResourceBusy as error:
        raise StartupError(str(error), ExitCode.BUSY) from error
    except CurveFSError as error:
        raise StartupError(f"the MDS refuses the mount: {error}", ExitCode.REFUSED) from error


def _open_cache(config: MountConfig, mds: BlockingClient) -> DiskCache | None:
    if not config.cache_folders:
        return None
    with _refusals(config):
        request = mds_pb2.GetFilesystemRequest(name=config.fs_name)
        reply = mds.call(mds_pb2_grpc.MdsServiceStub, "GetFilesystem", request)
    folders = tuple(map(Path, config.cache_folders))
    cache = DiskCache(CacheConfig(folders, config.cache_size, config.free_space), UUID(bytes=reply.filesystem.uuid))
    cache.start()
    return cache


def _open_staging(config: MountConfig, disk: DiskCache | None) -> Staging | None:
    """Return the staging of a write-back mount, or what one has left in the first cache folder."""
    if disk is None:
        return None
    places = [folder.path / "staging" for folder in disk.folders]
    for place in places[0 if config.read_only else 1 :]:
        if place.exists() and any(place.glob("*.slice")):
            log.error("slices are staged that this mount does not publish: mount with this cache_dir first, read-write")
    if config.read_only or not (config.writeback or places[0].exists()):
        return None
    try:
        return Staging(places[0], size_max=config.writeback_size, free_space=config.free_space, random_bytes=os.urandom)
    except StagingFailed as error:
        raise StartupError(f"cannot stage in {places[0]}: {error}", ExitCode.DATA_FOLDER) from error


def _wire(config: MountConfig, session: MountSession, ground: _Ground) -> _Parts:
    metrics, registry = ground.metrics, ground.registry
    filesystem = session.filesystem
    data_key = _data_key(config, filesystem)
    where = parse_store_url(filesystem.object_store)
    if isinstance(where, FolderLocation):
        check_apart(config.mountpoint, "the object store", where.folder)
    try:
        store = open_store(
            filesystem.object_store, profile=config.profile, connections=config.uploads + config.downloads
        )
    except (ObjectStoreError, CurveFSError) as error:
        raise StartupError(f"the object store cannot be used: {error}", ExitCode.OBJECT_STORE) from error
    cache = MetadataCache(
        config.metadata_cache,
        attr_timeout_s=config.attr_timeout,
        entry_timeout_s=config.entry_timeout,
        negative_timeout_s=config.negative_timeout,
    )
    registry.register(CacheCollector(cache))
    view = KernelView()
    ids = IdRanges()

    def on_new_session() -> None:
        ids.clear()
        metadata.reservations.clear()

    def on_gone(error: FilesystemGone) -> None:
        on_new_session()
        bound.gone = True
        data.give_up(error)

    router = Router(session, timeout_s=config.metadata_timeout, on_new_session=on_new_session, on_gone=on_gone)
    metadata = MetadataClient(router, cache, ids, lambda inode: view.own_change(inode.inode_id, inode.change))
    registry.register(ReleasesCollector(metadata.releases))
    data = DataPath(
        DataConfig(
            memory_budget=config.memory,
            store_timeout_s=config.store_timeout,
            uploads_max=config.uploads,
            downloads_max=config.downloads,
            data_key=data_key,
            write_back=config.writeback,
        ),
        store,
        SliceCalls(metadata),
        Geometry(
            uuid=UUID(bytes=filesystem.uuid),
            chunk_size=filesystem.chunk_size,
            block_size=filesystem.block_size,
            block_format=filesystem.block_format,
        ),
        registry=registry,
        disk=ground.disk,
        staging=ground.staging,
    )
    pages = KernelPages()
    vfs = Vfs(filesystem, metadata, data, view, pages)
    bound = binding.Binding(vfs, metrics, negative_timeout_s=config.negative_timeout)
    pages.put, pages.drop, data.drop_inode = bound.put_pages, bound.drop_inode, pages.drop_inode
    return _Parts(session, store, router, metadata, data, vfs, bound, ground.staging)


async def _serve(parts: _Parts, config: MountConfig, ready: Callable[[], None]) -> None:
    async with trio.open_nursery() as background:
        live = trio.Event()
        await background.start(_stop_on_signal, live)  # until everything is stored
        await background.start(parts.router.run)
        await background.start(parts.data.run)
        for work in (parts.metadata.reservations, parts.metadata.given_up, parts.metadata.releases):
            background.start_soon(kept, work.run)
        await _check_metadata(parts)
        if parts.staging is not None:
            await parts.data.adopt_staged()
            await parts.data.publish_staged(FOUND_STAGED_WAIT_S)
        async with trio.open_nursery() as serving:
            live.set()
            serving.start_soon(_announce, config.mountpoint, ready)
            if parts.data.warm_up is not None:
                serving.start_soon(control.serve, runtime.control_path(config.mountpoint), parts.data.warm_up)
            await binding.serve(REQUESTS_MAX)
            serving.cancel_scope.cancel()
        log.info("unmounted; storing what is left", mountpoint=config.mountpoint)
        await parts.vfs.close()
        await _close_session(parts, config)
        background.cancel_scope.cancel()


async def _close_session(parts: _Parts, config: MountConfig) -> None:
    """End the session, and the identity of a write-back mount unless it leaves something staged."""
    if parts.binding.gone:
        return
    if parts.staging is None:
        await parts.session.close()
        return
    await parts.data.publish_staged(config.writeback_wait)
    if parts.data.holds_staged:
        log.warning("slices stay staged; the next mount with this cache_dir publishes them", folder=parts.staging.path)
        await parts.session.close(end_identity=False)
    elif await parts.session.close():
        parts.staging.forget_identity()


async def _check_metadata(parts: _Parts) -> None:
    """Have the root directory's attributes from its metaserver before anyone else asks."""
    with trio.move_on_after(READY_DEADLINE_S) as scope:
        await parts.vfs.getattr(ROOT_INODE)
    if scope.cancelled_caught:
        raise StartupError("no metaserver answers for the filesystem", ExitCode.TIMEOUT)


async def _announce(mountpoint: str, ready: Callable[[], None]) -> None:
    """Say that the mount is live, once the kernel answers for it."""
    with trio.fail_after(READY_DEADLINE_S):
        await trio.to_thread.run_sync(os.stat, mountpoint, abandon_on_cancel=True)
        tune = partial(binding.tune, mountpoint, read_ahead_kib=READ_AHEAD_KIB, background_max=BACKGROUND_MAX)
        await trio.to_thread.run_sync(tune, abandon_on_cancel=True)
    log.info("mounted", mountpoint=mountpoint)
    ready()


async def _stop_on_signal(live: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """End the mount at the first signal; any further one must not keep what is left from being stored."""
    with trio.open_signal_receiver(*ending_signals()) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            if not live.is_set():
                raise StartupError("told to stop before the mount was live", ExitCode.FAILED)
            binding.stop()
            break
        async for number in signals:
            log.info("stopping already; storing what is left", signal=signal.Signals(number).name)
