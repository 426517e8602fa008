"""``umount.fuse.curvefs``: what umount(8) calls; returns when everything written is stored.

umount(2) alone returns while the client still uploads; a machine that then powers off would lose what was not
synced. So this waits until the client process has ended.
"""

import argparse
import sys

from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.errors import StartupError


def main() -> None:
    """Unmount one mountpoint. Flags as umount(8) passes them."""
    parser = argparse.ArgumentParser(prog="umount.fuse.curvefs", description=__doc__)
    parser.add_argument("mountpoint")
    parser.add_argument("-l", "--lazy", action="store_true")
    parser.add_argument("-t", dest="type", help=argparse.SUPPRESS)
    parser.add_argument("-N", dest="namespace", help=argparse.SUPPRESS)
    for flag in "fnrvis":
        parser.add_argument(f"-{flag}", dest=f"flag_{flag}", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    place = arguments.mountpoint
    who = runtime.client_of(place)
    try:
        if arguments.lazy:
            mountpoints.lazy_unmount(place)
        else:
            mountpoints.unmount(place)
    except StartupError as error:
        sys.stderr.write(f"umount.fuse.curvefs: {error}\n")
        sys.exit(32)  # umount(8): unmount failed
    if who is not None and not arguments.lazy:
        runtime.wait_gone(*who)


if __name__ == "__main__":
    main()
