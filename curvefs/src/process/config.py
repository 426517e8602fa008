"""Configuration of a server: a TOML file, overridden by flags. Unknown keys are refused.

All that can be judged without the world is judged here, before anything on disk is touched: models say of which type
each value is.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from ..common.addresses import parse_address, parse_addresses, parse_told_address
from ..common.errors import StartupError
from ..common.exits import ExitCode

M = TypeVar("M", bound=BaseModel)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} is not UTF-8") from None
    return value


def _place(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is no path")  # noqa: TRY004 -- what pydantic understands
    if value == "":
        raise ValueError("the path is empty")
    return Path(_text(str(value)))


def _read_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a check that a value can be read."""

    def check(value: str) -> str:
        try:
            parse(value)
        except StartupError as error:
            raise ValueError(str(error)) from None
        return value

    return check


Text = Annotated[str, AfterValidator(_text)]
Place = Annotated[Path, BeforeValidator(_place)]  # not '', which as a Path is the current folder
Address = Annotated[str, AfterValidator(_read_by(parse_address))]
ToldAddress = Annotated[str, AfterValidator(_read_by(parse_told_address))]  # registered, and told to others
Addresses = Annotated[str, AfterValidator(_read_by(parse_addresses))]


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
        raise StartupError(f"configuration: {_reason(error)}", ExitCode.USAGE) from error


def _reason(error: ValidationError) -> str:
    """Return the first reason, for a person."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'"
    reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
    return f"{where}: {reason}" if where else reason
