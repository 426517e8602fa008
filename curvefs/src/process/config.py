"""Configuration of a server: a TOML file, overridden by flags. Unknown keys are refused."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..common.errors import StartupError
from ..common.exits import ExitCode

M = TypeVar("M", bound=BaseModel)


def load_config(model: type[M], file: Path | None, flags: dict[str, Any]) -> M:
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
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        told = ": ".join(part for part in ("configuration", where, first["msg"]) if part)
        raise StartupError(told, ExitCode.USAGE) from error
