"""What curvefs-metaserver is told, by file or flags; read by process/config.py. Unknown keys are refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..process.config import Address, Addresses, Place, Text, ToldAddress


class MetaserverConfig(BaseModel):
    """What a metaserver is told. Names end in their unit.

    mds: addresses, HOST:PORT/HOST:PORT. server: of the topology, by name; empty: the one that has this address.
    session_port: at the same host, for the streams of mounts; 0: any, mounts ask which.
    key_dir: of the keys of encrypted filesystems, whose slices are merged here; see common/data_keys.py.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: ToldAddress = "127.0.0.1:0"
    session_port: int = Field(0, ge=0, le=65535)
    data: Place
    mds: Addresses
    server: Text = ""
    key_dir: Place | None = None
    metrics_listen: Address = "127.0.0.1:0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    wal_segment_size_bytes: int = Field(64 << 20, ge=64 << 10, le=1 << 30)
    wal_size_bytes_max: int = Field(1 << 30, ge=1 << 20)
    disk_reserve_bytes: int = Field(16 << 20, ge=0)
    state_size_bytes_max: int = Field(64 << 30, ge=1 << 20)
    checkpoint_log_size_bytes: int = Field(16 << 20, ge=64 << 10)
    heartbeat_interval_ms: int = Field(2000, ge=100, le=60_000)
    # Shorter: a new leader sooner, but more easily without need.
    election_timeout_ms: int = Field(1000, ge=100, le=60_000)
    # "readindex": for machines whose clocks' rates may differ by more than 5 % (rule 20).
    reads: Literal["lease", "readindex"] = "lease"
    mds_deadline_s: float = Field(5.0, gt=0)
    # Read and written by compaction, in the mean.
    compaction_bytes_per_s: int = Field(128 << 20, ge=1 << 20)
    # Start although the log is damaged; all replicas here must then be rebuilt from their peers.
    set_damaged_log_aside: bool = False
