"""``mount.fuse.curvefs``: what mount(8) calls for ``mount -t fuse.curvefs`` and for lines in fstab.

``mount.fuse.curvefs NAME MOUNTPOINT [-sfnv] [-N namespace] [-o options] [-t type]``. Here -f means to pretend. As with
other filesystems, set-uid programs and devices work unless the options say otherwise; `curvefs` itself is stricter.
``-o remount,ro`` and the like change what the kernel allows on a mount that is there.
"""

import argparse
import os

from curvefs.src.client.main import main as curvefs
from curvefs.src.client.options import REMOUNTED


def main() -> None:
    """Mount. Flags as mount(8) passes them."""
    parser = argparse.ArgumentParser(prog="mount.fuse.curvefs", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("mountpoint")
    parser.add_argument("-o", dest="options", action="append", default=[])
    parser.add_argument("-t", dest="type", help=argparse.SUPPRESS)
    parser.add_argument("-N", dest="namespace", help=argparse.SUPPRESS)
    parser.add_argument("-f", dest="fake", action="store_true", help="Only pretend.")
    for flag in "snv":
        parser.add_argument(f"-{flag}", dest=f"flag_{flag}", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fake:
        return
    words = ",".join(arguments.options).split(",")
    if "remount" in words:
        kept = [word for word in words if word in REMOUNTED]
        os.execvp("mount", ["mount", "-i", "-o", ",".join(["remount", *kept]), arguments.mountpoint])  # noqa: S606
    # mount(8) may name the source with its type in front, as fuse does: curvefs#NAME.
    name = arguments.name.removeprefix("curvefs#")
    options = ",".join(["suid,dev", *arguments.options])
    curvefs(["-o", options, "--", name, arguments.mountpoint], prog_name="mount.fuse.curvefs")


if __name__ == "__main__":
    main()
