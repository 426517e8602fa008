"""Which store an MDS keeps its state in, by its configuration: the embedded one, or etcd."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from ...common.addresses import parse_addresses
from ...common.clock import Clock
from ...common.errors import CurveFSError
from ...rpc.etcd import EtcdSettings
from ...rpc.etcd_tls import Tls
from ..config import EMBEDDED, MdsConfig
from .etcd_store import EtcdStore
from .lmdb_store import LmdbStore
from .protocol import KeyValueStore

_log = structlog.get_logger()
_TICK_S = 1.0


@asynccontextmanager
async def open_store(config: MdsConfig, folder: Path, clock: Clock) -> AsyncIterator[KeyValueStore]:
    """Open the store, and close it in the end. folder: the MDS's own.

    Raises StartupError: DATA_FOLDER, DAMAGED or FAILED (embedded); USAGE, UNREACHABLE or REFUSED (etcd).
    """
    if config.store != EMBEDDED:
        store = await EtcdStore.open(
            etcd_settings(config), config.etcd_prefix.encode(), history_limit=config.etcd_history_limit
        )
        try:
            yield store
        finally:
            await store.close()
        return
    embedded = LmdbStore(folder / "kv", clock, size_bytes_max=config.kv_size_bytes_max)
    expiring = asyncio.create_task(_expire_leases(embedded), name="leases")
    try:
        yield embedded
    finally:
        expiring.cancel()
        await asyncio.wait([expiring])
        await embedded.close()


def etcd_settings(config: MdsConfig) -> EtcdSettings:
    """Return how etcd is reached. Raises StartupError (USAGE) for endpoints that are none."""
    return EtcdSettings(
        endpoints=tuple(parse_addresses(config.store)),
        tls=Tls(config.etcd_ca, config.etcd_certificate, config.etcd_key) if config.etcd_ca else None,
        user=config.etcd_user,
        password_file=config.etcd_password_file,
        deadline_s=config.etcd_deadline_s,
        start_deadline_s=config.etcd_start_deadline_s,
    )


async def _expire_leases(store: LmdbStore) -> None:
    while True:
        try:
            await store.expire()
        except CurveFSError as error:
            _log.error("leases could not be ended", reason=str(error))
        await asyncio.sleep(_TICK_S)
