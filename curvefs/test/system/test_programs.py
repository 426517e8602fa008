"""Real programs on a real mount: tar, diff, git, SQLite, a compiler. On both kinds of object store."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.cluster import run, wait_until

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = Path(os.__file__).parent
LEFT_OUT = ["__pycache__", "site-packages", "config-*", "*.a", "*.so", "*.pyc"]


def copy_library(target):
    """tar in the sources of Python's standard library: thousands of files."""
    target.mkdir()
    excludes = " ".join(f"--exclude='{pattern}'" for pattern in LEFT_OUT)
    run("sh", "-c", f"tar c -C '{LIBRARY}' {excludes} . | tar x -C '{target}'", timeout=300)


def diff_library(target):
    """diff -r with the original."""
    excludes = [word for pattern in LEFT_OUT for word in ("-x", pattern)]
    run("diff", "-r", *excludes, LIBRARY, target, timeout=300)


@pytest.mark.slow
def test_a_source_tree_is_the_same_after_tar_and_after_everything_was_killed(either_cluster):
    cluster = either_cluster
    cluster.up()
    copy_library(cluster.mnt / "library")
    diff_library(cluster.mnt / "library")
    cluster.umount(cluster.mnt)
    cluster.kill_everything()
    cluster.up()
    diff_library(cluster.mnt / "library")
    assert sum(1 for path in (cluster.mnt / "library").rglob("*") if path.is_file()) > 1000


@pytest.mark.slow
def test_git_works_in_a_source_tree(either_cluster):
    cluster = either_cluster
    cluster.up()
    place = cluster.mnt / "repository"
    place.mkdir()
    for name in ("json", "email", "asyncio"):
        run("cp", "-r", LIBRARY / name, place / name)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]

    def git(*words):
        return run("git", "-C", place, *identity, *words, timeout=300, env=os.environ | {"GIT_CONFIG_NOSYSTEM": "1"})

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    (place / "json" / "new.py").write_text("new = 1\n")
    git("add", "-A")
    git("commit", "-q", "-m", "second")
    git("gc", "-q")
    git("fsck", "--full", "--strict")
    assert git("status", "--porcelain").stdout == ""
    git("clone", "-q", place, cluster.mnt / "clone")
    run("diff", "-r", "-x", ".git", place, cluster.mnt / "clone")


@pytest.mark.slow
def test_sqlite_keeps_500_transactions(either_cluster):
    cluster = either_cluster
    cluster.up()
    path = cluster.mnt / "database"
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("create table t (n integer primary key, text)")
    for number in range(500):
        base.execute("begin")
        base.execute("insert into t values (?, ?)", (number, "x" * (number % 700)))
        if number % 10 == 9:
            base.execute("update t set text = 'y' where n = ?", (number - 5,))
        base.execute("commit" if number % 50 != 49 else "rollback")
    base.close()
    cluster.umount(cluster.mnt)
    fresh = sqlite3.connect(cluster.mount("fresh") / "database")
    assert fresh.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert fresh.execute("select count(*) from t").fetchone() == (490,)
    fresh.close()


@pytest.mark.slow
@pytest.mark.timeout(900)  # configure runs hundreds of programs
def test_a_c_project_is_configured_built_and_tested(either_cluster):
    cluster = either_cluster
    sources = run(ROOT / "tools" / "c_project.sh").stdout.strip()
    cluster.up()
    place = cluster.mnt / "project"
    place.mkdir()
    run("tar", "x", "-C", place, "--strip-components=1", "-f", sources)
    run("./configure", "-q", cwd=place, timeout=400)
    run("make", "-s", "-j2", cwd=place, timeout=400)
    assert run("./hello", cwd=place).stdout == "Hello, world!\n"
    run("make", "-s", "check", cwd=place, timeout=400)
    run("make", "-s", "clean", cwd=place)


def test_unmounting_stores_what_was_only_written(either_cluster):
    """Also without a close: the process that had it open was killed."""
    cluster = either_cluster
    cluster.up()
    code = "import sys,time; f=open(sys.argv[1],'wb',0); f.write(b'x'*3000000); time.sleep(600)"
    writer = subprocess.Popen([sys.executable, "-c", code, cluster.mnt / "a"])
    wait_until(lambda: (cluster.mnt / "a").exists() and (cluster.mnt / "a").stat().st_size == 3_000_000)
    writer.kill()
    writer.wait()
    cluster.umount(cluster.mnt)
    assert (cluster.mount("fresh") / "a").read_bytes() == b"x" * 3_000_000
