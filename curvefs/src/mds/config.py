"""What curvefs-mds is told, by file or flags; read by process/config.py. Unknown keys are refused."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MdsConfig(BaseModel):
    """What an MDS is told. Names end in their unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = "127.0.0.1:6700"
    data: Path
    metrics_listen: str = "127.0.0.1:0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    replica_count: int = Field(1, ge=1, le=7)
    copysets_per_metaserver: int = Field(1, ge=1, le=64)
    partition_count: int = Field(12, ge=1, le=64)
    session_lease_ms: int = Field(60_000, ge=1000, le=3_600_000)
    sessions_max: int = Field(100_000, ge=1)
    filesystems_max: int = Field(10_000, ge=1)
    heartbeat_interval_ms: int = Field(2000, ge=100, le=60_000)
    unstable_after_s: float = Field(30.0, gt=0)
    offline_after_s: float = Field(1800.0, gt=0)
    orders_after_s: float = Field(60.0, ge=0)
    schedule_interval_s: float = Field(5.0, gt=0)
    leader_cooling_s: float = Field(60.0, ge=0)
    schedule_recover: bool = True
    schedule_copyset_balance: bool = True
    schedule_leader_balance: bool = True
    partitions_per_copyset: int = Field(128, ge=1)
    metaserver_deadline_s: float = Field(10.0, gt=0)
    store_check_deadline_s: float = Field(20.0, gt=0)
    delete_objects_per_s: float = Field(2000.0, gt=0)
    kv_size_bytes_max: int = Field(4 << 30, ge=1 << 20)
