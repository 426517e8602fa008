"""``copyset compare``: whether all replicas of a copyset hold the same.

Each replica is asked for a digest of its state where it has applied at least what the leader has committed. A busy
group goes on meanwhile, so the answers may be of different places in the log: then all are asked again, for the
furthest of these places, until there is one for which every replica has answered.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from curvefs.proto import copyset_pb2
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode

from ..cluster import cluster_options, command, mds_addresses, print_json, print_table
from .access import Copysets
from .options import group_argument

ROUNDS_MAX = 20
DIGEST_DEADLINE_S = 60.0

Answer = copyset_pb2.GetCopysetStatusReply | CurveFSError


@dataclass(slots=True)
class Comparison:
    """What was found. index: the place in the log that the digests are of, 0 if there is none in common.

    digests: by metaserver; errors: of those that could not be compared.
    """

    index: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)

    @property
    def differing(self) -> list[int]:
        """Return the replicas that hold something else than most do; with no majority all of them."""
        if len(set(self.digests.values())) < 2:
            return []
        digest, count = Counter(self.digests.values()).most_common(1)[0]
        common = digest if 2 * count > len(self.digests) else None
        return sorted(one for one, its in self.digests.items() if its != common)


def compare_replicas(copysets: Copysets, group_id: int) -> Comparison:
    """Compare the replicas of the group's peers. Raises NotFound, Unavailable (no leader), StartupError (too busy)."""
    leader = copysets.leader(group_id)
    members = [peer.metaserver_id for peer in leader.status.peers]
    at_index = leader.status.committed_index
    seen: dict[int, dict[int, bytes]] = {}  # index -> metaserver -> digest
    for _ in range(ROUNDS_MAX):
        answers = copysets.statuses(
            group_id, members, deadline_s=DIGEST_DEADLINE_S, with_digest=True, at_index=at_index
        )
        found = _read(answers)
        for metaserver_id, answer in answers.items():
            if not isinstance(answer, CurveFSError) and metaserver_id not in found.errors:
                seen.setdefault(answer.applied_index, {})[metaserver_id] = answer.digest
        wanted = set(members) - found.errors.keys()
        whole = [index for index, digests in seen.items() if wanted <= digests.keys()]
        if whole or not wanted:
            found.index = max(whole, default=0)
            found.digests = {one: seen[found.index][one] for one in sorted(wanted)}
            return found
        at_index = max(seen)
    raise StartupError(
        f"copyset {group_id} is too busy: its replicas never answered for the same place in the log", ExitCode.TIMEOUT
    )


def _read(answers: dict[int, Answer]) -> Comparison:
    found = Comparison()
    for metaserver_id, answer in answers.items():
        if isinstance(answer, CurveFSError):
            found.errors[metaserver_id] = str(answer)
        elif answer.damaged:
            found.errors[metaserver_id] = f"damaged: {answer.damage}"
            found.damaged.append(metaserver_id)
    return found


@click.command("compare")
@group_argument
@cluster_options
@command
def compare(group_id: int, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Compare the replicas of copyset ID; ends with 0 only if all hold the same."""
    with Copysets(mds_addresses(mds, data)) as copysets:
        found = compare_replicas(copysets, group_id)
    if json:
        print_json(_shown(group_id, found))
    else:
        rows = [
            [str(one), found.digests[one].hex() if one in found.digests else found.errors[one]]
            for one in sorted([*found.digests, *found.errors])
        ]
        print_table(["METASERVER", f"DIGEST AT {found.index}"], rows)
    if bad := sorted({*found.differing, *found.damaged}):
        where = ", ".join(map(str, bad))
        raise StartupError(f"copyset {group_id} differs or is damaged on metaserver {where}", ExitCode.DAMAGED)
    if found.errors:
        where = ", ".join(map(str, sorted(found.errors)))
        raise StartupError(f"copyset {group_id} could not be compared on metaserver {where}", ExitCode.UNREACHABLE)


def _shown(group_id: int, found: Comparison) -> dict[str, Any]:
    return {
        "group_id": group_id,
        "index": found.index,
        "same": not found.errors and not found.differing,
        "differing": found.differing,
        "digests": {str(one): digest.hex() for one, digest in found.digests.items()},
        "errors": {str(one): error for one, error in found.errors.items()},
    }
