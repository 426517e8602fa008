"""``make demo``: everything on one machine, with the blocks in a real S3 server, and something to look at."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .cluster import command
from .seaweed import HOST, WeedServer

BUCKET = "curvefs-demo"
FOLDER = Path("demo-data").absolute()
SKIPPED = shutil.ignore_patterns("__pycache__", "site-packages", "test", "tests", "*.a", "*.so", "config-*")


@click.group()
def main() -> None:
    """The demo."""


@main.command()
@click.option("--store", type=click.Choice(["s3", "file"]), default="s3", help="Where the blocks go.")
@command
def start(store: str) -> None:
    """Start, mount, copy a tree in, show it."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    mountpoint = FOLDER / "mnt"
    mountpoint.mkdir(exist_ok=True)
    environment = dict(os.environ)
    url: list[str] = []
    if store == "s3":
        server = WeedServer(FOLDER / "s3", buckets=[BUCKET])
        server.start()
        environment |= server.environment | beside_proxy(environment, HOST)
        url = ["--object-store", server.url(BUCKET)]
        click.echo(f"S3 server (SeaweedFS) on {server.endpoint}")
    data = FOLDER / f"cluster-{store}"
    tool = [sys.executable, "-m", "curvefs_tool.main"]
    done = subprocess.run([*tool, "up", str(data), str(mountpoint), "--detach", *url], env=environment, check=False)
    if done.returncode:
        raise StartupError("the cluster did not start; make demo-stop cleans up", ExitCode(done.returncode))
    _show(mountpoint)
    click.echo(f"\nlook around in {mountpoint}; stop with: make demo-stop")


@main.command()
@command
def stop() -> None:
    """Unmount and stop everything; the data stays in demo-data/."""
    tool = [sys.executable, "-m", "curvefs_tool.main"]
    for data in sorted(FOLDER.glob("cluster-*")):
        done = subprocess.run([*tool, "down", str(data)], check=False)
        if done.returncode:
            sys.exit(done.returncode)
    if (FOLDER / "s3").exists():
        WeedServer(FOLDER / "s3").stop()
    click.echo(f"stopped; remove {FOLDER} to forget the data")


def beside_proxy(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """Return the variable that has clients reach a host without the proxy that they may be told of."""
    others = environment.get("no_proxy") or environment.get("NO_PROXY")
    return {"no_proxy": f"{others},{host}" if others else host}


def _show(mountpoint: Path) -> None:
    """Copy the Python library's sources in, and compare."""
    source, target = Path(os.__file__).parent, mountpoint / "python"
    if not target.exists():
        click.echo(f"copying {source} ...")
        shutil.copytree(source, target, ignore=SKIPPED, symlinks=True)
    files = [path for path in sorted(target.rglob("*")) if path.is_file()]
    click.echo(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    for words in (["df", "-h", str(mountpoint)], ["ls", "-l", str(target / "json")]):
        click.echo(f"\n$ {' '.join(words)}")
        subprocess.run(words, check=True)
    same = _digest(source, files, target) == _digest(target, files, target)
    click.echo(f"\nsha256 of all files, here and at the source: {'equal' if same else 'DIFFERENT'}")
    if not same:
        sys.exit(ExitCode.FAILED)


def _digest(root: Path, files: list[Path], below: Path) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update((root / path.relative_to(below)).read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
