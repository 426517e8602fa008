"""What curvefs-mds is told, by file or flags; read by process/config.py. Unknown keys are refused."""

import contextlib
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..common.addresses import parse_addresses
from ..common.errors import InvalidArgument, StartupError
from ..common.private_files import check_private
from ..process.config import Address, Place, Text, ToldAddress

EMBEDDED = "lmdb"


def _store(value: str) -> str:
    if value != EMBEDDED:
        try:
            parse_addresses(value)
        except StartupError:
            raise ValueError(f"'{value}' is neither '{EMBEDDED}' nor etcd's HOST:PORT,HOST:PORT") from None
    return value


class MdsConfig(BaseModel):
    """What an MDS is told. Names end in their unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: ToldAddress = "127.0.0.1:6700"
    data: Place
    metrics_listen: Address = "127.0.0.1:0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    recover: bool = False  # the store was restored from a copy: begin in recovery

    replica_count: int = Field(1, ge=1, le=7)
    copysets_per_metaserver: int = Field(1, ge=1, le=64)
    partition_count: int = Field(12, ge=1, le=64)
    session_lease_ms: int = Field(60_000, ge=1000, le=3_600_000)
    writeback_retention_s: int = Field(7 * 86_400, ge=1)  # how long what a write-back mount staged may be published
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

    # lmdb: in the data folder, for one MDS. Else the endpoints of etcd, HOST:PORT,HOST:PORT, for several.
    store: Annotated[str, AfterValidator(_store)] = EMBEDDED
    lease_s: int = Field(5, ge=2, le=60)  # of the leading MDS: after that the next one takes over
    etcd_prefix: str = Field("curvefs/", min_length=1, max_length=100)
    etcd_ca: Place | None = None  # with it, TLS
    etcd_certificate: Place | None = None
    etcd_key: Place | None = None
    etcd_user: Text = ""
    etcd_password_file: Place | None = None
    etcd_deadline_s: float = Field(5.0, gt=0)
    etcd_start_deadline_s: float = Field(10.0, gt=0)
    etcd_history_limit: int = Field(10_000, ge=0)  # revisions kept when compacting; 0: etcd compacts by itself

    @model_validator(mode="after")
    def _health_gets_worse(self) -> Self:
        if self.offline_after_s < self.unstable_after_s:
            raise ValueError("offline_after_s is below unstable_after_s")
        return self

    @model_validator(mode="after")
    def _etcd_is_told_completely(self) -> Self:
        told = [name for name in self.model_fields_set if name.startswith("etcd_")]
        if self.store == EMBEDDED and told:
            raise ValueError(f"{min(told)} is for etcd, and the store is {EMBEDDED}")
        if (self.etcd_certificate is None) is not (self.etcd_key is None):
            raise ValueError("etcd_certificate and etcd_key are given together")
        if self.etcd_certificate is not None and self.etcd_ca is None:
            raise ValueError("etcd_certificate needs etcd_ca")
        if bool(self.etcd_user) is not (self.etcd_password_file is not None):
            raise ValueError("etcd_user and etcd_password_file are given together")
        return self

    @model_validator(mode="after")
    def _secrets_are_their_owners_alone(self) -> Self:
        for name, path in (("etcd_key", self.etcd_key), ("etcd_password_file", self.etcd_password_file)):
            with contextlib.suppress(OSError):  # who reads it says what is wrong
                try:
                    check_private(path.stat().st_mode if path is not None else 0, f"{name} {path}")
                except InvalidArgument as error:
                    raise ValueError(str(error)) from None
        return self
