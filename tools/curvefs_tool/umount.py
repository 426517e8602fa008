"""``umount.fuse.curvefs``: what umount(8) calls; returns when everything written is stored.

umount(2) alone returns while the client still uploads; a machine that then powers off would lose what was not
synced. So this waits until the client process has ended.
"""

import argparse
import sys

from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.errors import StartupError

UNMOUNT_FAILED = 32  # as umount(8) has it


def main() -> None:
    """Unmount one mountpoint. Flags as umount(8) passes them."""
    parser = argparse.ArgumentParser(prog="umount.fuse.curvefs", description=__doc__)
    parser.add_argument("mountpoint")
    parser.add_argument("-f", dest="force", action="store_true", help="Fail what is under way.")
    parser.add_argument("-l", dest="lazy", action="store_true", help="Detach now; do not wait.")
    parser.add_argument("-t", dest="type", help=argparse.SUPPRESS)
    parser.add_argument("-N", dest="namespace", help=argparse.SUPPRESS)
    for flag in "nrvis":
        parser.add_argument(f"-{flag}", dest=f"flag_{flag}", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    place = mountpoints.resolve(arguments.mountpoint)
    client = runtime.client_of(place)
    try:
        if mountpoints.mounted_type(place) != mountpoints.FSTYPE:
            sys.stderr.write(f"umount.fuse.curvefs: {place} is no mounted CurveFS\n")
            sys.exit(UNMOUNT_FAILED)
        if arguments.lazy:
            mountpoints.lazy_unmount(place)
        else:
            mountpoints.unmount(place, force=arguments.force)
    except StartupError as error:
        sys.stderr.write(f"umount.fuse.curvefs: {error}\n")
        sys.exit(UNMOUNT_FAILED)
    if client is not None and not arguments.lazy:
        runtime.wait_gone(*client)


if __name__ == "__main__":
    main()
