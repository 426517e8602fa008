"""Configuration of curvefs-mds: a TOML file, overridden by flags. Unknown keys are refused."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..common.errors import StartupError
from ..common.exits import ExitCode


class MdsConfig(BaseModel):
    """What an MDS is told. Names end in their unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = "127.0.0.1:6700"
    data: Path
    metrics_listen: str = "127.0.0.1:0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    session_lease_ms: int = Field(60_000, ge=1000, le=3_600_000)
    sessions_max: int = Field(100_000, ge=1)
    filesystems_max: int = Field(10_000, ge=1)
    heartbeat_interval_ms: int = Field(2000, ge=100, le=60_000)
    unstable_after_s: float = Field(30.0, gt=0)
    offline_after_s: float = Field(1800.0, gt=0)
    orders_after_s: float = Field(60.0, ge=0)
    metaserver_deadline_s: float = Field(10.0, gt=0)
    store_check_deadline_s: float = Field(20.0, gt=0)
    delete_objects_per_s: float = Field(2000.0, gt=0)
    kv_size_bytes_max: int = Field(4 << 30, ge=1 << 20)


def load_config(file: Path | None, flags: dict[str, Any]) -> MdsConfig:
    """Read the file, if any, and lay the flags that are not None over it. Raises StartupError (USAGE)."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise StartupError(f"cannot read {file}: {error}", ExitCode.USAGE) from error
    values |= {name: value for name, value in flags.items() if value is not None}
    if "data" not in values:
        raise StartupError("no data folder is given: --data DIR, or data in the file", ExitCode.USAGE)
    try:
        return MdsConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StartupError(f"configuration: {where}: {first['msg']}", ExitCode.USAGE) from error
