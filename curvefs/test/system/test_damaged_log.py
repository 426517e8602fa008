"""The write-ahead log after a crash: a torn end is cut, damage in the middle refuses to start."""

import os

import pytest

from curvefs.src.common.exits import ExitCode


@pytest.fixture
def crashed(cluster):
    """A cluster that was killed after some work; returns it with its log's last segment."""
    cluster.up()
    for number in range(50):
        (cluster.mnt / f"d{number}").mkdir()
    cluster.kill_everything()
    segments = sorted((cluster.data / "metaserver-1").glob("wal/*.wal"))
    return cluster, segments[-1]


def everything_is_there(cluster):
    return sorted(os.listdir(cluster.mnt)) == sorted(f"d{number}" for number in range(50))


def test_a_torn_end_is_cut_with_a_line_in_the_log(crashed):
    cluster, segment = crashed
    size = segment.stat().st_size
    with segment.open("r+b") as file:
        file.seek(size - 200)
        piece = file.read(150)
        file.seek(0, os.SEEK_END)
        file.write(piece)
    cluster.up()
    assert everything_is_there(cluster)
    lines = [line for line in cluster.log("metaserver-1").splitlines() if segment.name in line]
    assert lines, cluster.log("metaserver-1")
    assert any(str(size) in line for line in lines), lines
    (cluster.mnt / "more").mkdir()


def test_damage_in_the_middle_refuses_to_start_naming_file_and_offset(crashed):
    cluster, segment = crashed
    size = segment.stat().st_size
    before = segment.read_bytes()
    with segment.open("r+b") as file:
        file.seek(size // 2)
        byte = file.read(1)
        file.seek(size // 2)
        file.write(bytes([byte[0] ^ 0xFF]))
    done = cluster.up(check=False)
    assert done.returncode == ExitCode.DAMAGED, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert segment.name in done.stderr
    offset = next(int(word) for word in done.stderr.replace(":", " ").replace(",", " ").split() if word.isdigit())
    assert 0 < offset <= size // 2
    assert size // 2 - offset < 10_000
    assert segment.stat().st_size == size, "what is damaged is left as it is"
    assert not any(record.running for record in cluster.processes().values())
    segment.write_bytes(before)
    cluster.up()
    assert everything_is_there(cluster)
