"""Who this metaserver is in the cluster: given by the MDS, kept in DATA/identity, readable by the owner only.

The secret that verifies session tokens is kept with it, so that a restarted metaserver serves at once, also while the
MDS is away.
"""

import json
from dataclasses import asdict, dataclass

from ..common.errors import StartupError
from ..common.exits import ExitCode
from ..process.data_folder import DataFolder

FORMAT = 1
_NAME = "identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the MDS gave. metaserver_id 0: not registered yet. The token and the secret are never logged."""

    cluster_id: str = ""
    metaserver_id: int = 0
    token: bytes = b""
    session_secret: bytes = b""

    def __repr__(self) -> str:
        return f"Identity(cluster_id={self.cluster_id!r}, metaserver_id={self.metaserver_id})"


def load_identity(folder: DataFolder) -> Identity:
    """Return what was kept. Raises StartupError (DAMAGED, DATA_FOLDER)."""
    text = folder.remembered(_NAME)
    if not text:
        return Identity()
    try:
        said = json.loads(text)
        if said.pop("format") > FORMAT:
            raise StartupError(f"{folder.path / _NAME} is of a newer version", ExitCode.DATA_FOLDER)
        token, secret = bytes.fromhex(said.pop("token")), bytes.fromhex(said.pop("session_secret"))
        return Identity(token=token, session_secret=secret, **said)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartupError(f"{folder.path / _NAME} is damaged", ExitCode.DAMAGED) from error


def keep_identity(folder: DataFolder, identity: Identity) -> None:
    """Keep it for the next start. Raises OSError."""
    said = asdict(identity) | {"format": FORMAT, "token": identity.token.hex()}
    folder.remember(_NAME, json.dumps(said | {"session_secret": identity.session_secret.hex()}))
