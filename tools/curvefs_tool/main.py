"""The command line: lists the commands, each from its own file."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import click

from .lazy import LazyGroup


class _Commands(LazyGroup):
    places: ClassVar[dict[str, str]] = {
        "up": "up:up",
        "down": "down:down",
        "status": "status:status",
        "create-fs": "create_fs:create_fs",
        "new-key": "new_key:new_key",
        "list-fs": "list_fs:list_fs",
        "query-fs": "query_fs:query_fs",
        "delete-fs": "delete_fs:delete_fs",
        "kv-migrate": "kv_migrate:kv_migrate",
        "copyset": "copyset.commands:copyset",
        "create-topology": "topology.create:create_topology",
        "list-pools": "topology.lists:list_pools",
        "list-zones": "topology.lists:list_zones",
        "list-servers": "topology.lists:list_servers",
        "list-metaservers": "topology.lists:list_metaservers",
        "list-copysets": "copyset.show:list_copysets",
        "list-partitions": "topology.lists:list_partitions",
        "list-mounts": "topology.lists:list_mounts",
        "query-pool": "topology.queries:query_pool",
        "query-zone": "topology.queries:query_zone",
        "query-server": "topology.queries:query_server",
        "query-metaserver": "topology.queries:query_metaserver",
        "query-copyset": "copyset.show:query",
        "query-partition": "topology.queries:query_partition",
        "query-mount": "topology.queries:query_mount",
        "end-mount": "end_mount:end_mount",
        "drain": "topology.duties:drain",
        "undrain": "topology.duties:undrain",
        "retire": "topology.duties:retire",
        "schedule": "schedule:schedule",
        "recovery": "recovery:recovery",
        "info": "files.info:info",
        "compact": "files.compact:compact",
        "quota": "quota.commands:quota",
        "gc": "gc.commands:gc",
        "restore": "restore:restore",
        "warmup": "warmup:warmup",
        "install-helpers": "install_helpers:install_helpers",
    }

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; may show the help."""
        with _dying_of_the_pipe():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _dying_of_the_pipe():
            return super().invoke(ctx)


@contextmanager
def _dying_of_the_pipe() -> Iterator[None]:
    """Die as other programs do when nobody reads any more what is printed (``| head -1``).

    click would end with 1, by which `status` says that the cluster is not healthy.
    """
    try:
        yield
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
        raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="curvefs")
def main() -> None:
    """Operate CurveFS clusters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files are bytes


if __name__ == "__main__":
    main()
