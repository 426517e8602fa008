"""The S3 server goes away: short, and writes wait; long, and they fail with EIO, and heal when it is back."""

import errno
import hashlib
import os
import subprocess
import threading

import pytest

from ..support.cluster import Cluster, wait_until

pytestmark = pytest.mark.s3
OUTAGE_S = 20.0
COPY_SIZE = 192 << 20


@pytest.fixture
def cluster(weed_of_my_own):
    with Cluster(weed_of_my_own.url(), weed_of_my_own.environment) as made:
        made.up(mount=False)
        yield made
    weed_of_my_own.kill()  # asked to end, it takes its time


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.slow
def test_a_large_copy_waits_for_the_store_and_finishes(cluster, weed_of_my_own, tmp_path):
    place = cluster.mount(options="memory=64M")
    source = tmp_path / "large"
    subprocess.run(
        ["dd", "if=/dev/urandom", f"of={source}", "bs=1M", f"count={COPY_SIZE >> 20}", "status=none"], check=True
    )
    copy = subprocess.Popen(["cp", source, place / "large"])
    wait_until(lambda: (place / "large").exists() and (place / "large").stat().st_size > 16 << 20, 60)
    weed_of_my_own.kill()
    with pytest.raises(subprocess.TimeoutExpired):
        copy.wait(OUTAGE_S)  # that long is the outage; the copy does not fit into memory, so it cannot have ended
    weed_of_my_own.start()
    assert copy.wait(240) == 0
    cluster.umount(place)
    fresh = cluster.mount("fresh")
    assert digest(fresh / "large") == digest(source)


@pytest.mark.slow
def test_a_store_away_for_longer_than_the_timeout_is_eio_with_a_reason_and_heals(cluster, weed_of_my_own):
    place = cluster.mount(options="store_timeout=4")
    (place / "before").write_bytes(b"b" * 1_000_000)
    weed_of_my_own.kill()
    descriptor = os.open(place / "a", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"x" * 100_000)
    with pytest.raises(OSError) as caught:
        os.fsync(descriptor)
    assert caught.value.errno == errno.EIO
    reasons = [
        line for line in cluster.log("mnt2").splitlines() if "store" in line and ("error" in line or "warn" in line)
    ]
    assert reasons, cluster.log("mnt2")
    assert not [line for line in cluster.log("mnt2").splitlines() if "Traceback" in line]
    weed_of_my_own.start()
    wait_until(lambda: synced(descriptor), 60, "fsync works again")
    os.close(descriptor)
    (place / "after").write_bytes(b"c" * 1_000_000)
    cluster.umount(place)
    fresh = cluster.mount("fresh")
    assert (fresh / "a").read_bytes() == b"x" * 100_000
    assert (fresh / "before").read_bytes() == b"b" * 1_000_000
    assert (fresh / "after").read_bytes() == b"c" * 1_000_000


def synced(descriptor):
    try:
        os.fsync(descriptor)
    except OSError as error:
        assert error.errno == errno.EIO
        return False
    return True


def test_a_read_of_what_cannot_be_fetched_is_eio_after_the_timeout_and_heals(cluster, weed_of_my_own):
    place = cluster.mount("writer")
    (place / "a").write_bytes(b"x" * 300_000)
    cluster.umount(place)
    fresh = cluster.mount("fresh", "store_timeout=3")
    weed_of_my_own.kill()
    with pytest.raises(OSError) as caught:
        (fresh / "a").read_bytes()
    assert caught.value.errno == errno.EIO
    weed_of_my_own.start()
    assert (fresh / "a").read_bytes() == b"x" * 300_000


def test_a_blocked_read_delays_nothing_on_other_files(cluster, weed_of_my_own):
    place = cluster.mount("writer")
    for name in ("blocked", "other"):
        (place / name).write_bytes(name.encode() * 50_000)
    cluster.umount(place)
    fresh = cluster.mount("fresh")
    other = (fresh / "other").read_bytes()
    weed_of_my_own.suspend()
    reader = subprocess.Popen(["md5sum", fresh / "blocked"], stdout=subprocess.DEVNULL)
    done = threading.Event()

    def work():
        (fresh / "d").mkdir()
        (fresh / "d" / "e").touch()
        os.rename(fresh / "d" / "e", fresh / "f")
        os.listdir(fresh)
        descriptor = os.open(fresh / "g", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, b"y" * 1000)
        assert os.pread(descriptor, 1000, 0) == b"y" * 1000
        assert (fresh / "other").read_bytes() == other
        (fresh / "blocked").stat()
        done.set()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        assert done.wait(10), "an operation on another file waits"
        assert reader.poll() is None, "nothing was blocked: the test shows nothing"
    finally:
        weed_of_my_own.resume()
    worker.join(60)
    assert reader.wait(60) == 0


def test_metadata_works_without_the_object_store(cluster, weed_of_my_own):
    place = cluster.mount()
    weed_of_my_own.kill()
    (place / "d").mkdir()
    os.symlink("x", place / "l")
    os.rename(place / "d", place / "e")
    assert sorted(os.listdir(place)) == ["e", "l"]
    weed_of_my_own.start()
