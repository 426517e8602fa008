"""The rule for filesystem names: safe in paths, URLs and bucket prefixes."""

import re

from .errors import InvalidArgument

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def check_fs_name(name: str) -> str:
    """Return the name, or raise InvalidArgument: 3 to 63 of a-z, 0-9 and '-', no '-' at either end."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"'{name}' is no filesystem name: 3 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
        )
    return name
