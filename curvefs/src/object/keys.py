"""Which object keys every store takes: what S3 and a plain folder both keep apart and give back unchanged."""

from ..common.errors import InvalidArgument

KEY_SIZE_MAX = 1024  # S3's limit, of prefix and key together
PART_SIZE_MAX = 255  # a folder's limit, of what lies between slashes


def check_key(key: str, prefix: str = "") -> str:
    """Return prefix and key together. Raises InvalidArgument for what some store could not keep as it is."""
    whole = prefix + key
    if not key or len(whole) > KEY_SIZE_MAX or not all("!" <= character <= "~" for character in whole):
        raise InvalidArgument(f"'{key[:PART_SIZE_MAX]}' is no object key: 1 to {KEY_SIZE_MAX} ASCII characters")
    if any(part in ("", ".", "..") or len(part) > PART_SIZE_MAX for part in key.split("/")):
        raise InvalidArgument(f"'{key[:PART_SIZE_MAX]}' is no object key: a part of it is no file name")
    return whole
