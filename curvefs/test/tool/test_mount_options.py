"""`up -o`: the options of `curvefs` reach the mount, as they were meant where they were said."""

import pytest
from curvefs_tool.mount_options import checked_options, mount_config
from curvefs_tool.settings import Settings

from curvefs.src.client.options import MountConfig
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

MDS = ["127.0.0.1:6700", "127.0.0.1:6701"]


def mounted(*options, encrypt=""):
    settings = Settings("demo", "file:///x", 1, encrypt=encrypt)
    return mount_config(settings, "/mnt", checked_options("/mnt", options), MDS)


def test_without_options_it_is_the_filesystem_with_its_key():
    assert mounted() == MountConfig("demo", "/mnt", MDS)
    assert mounted(encrypt="/keys/one").key_file == "/keys/one"


def test_options_reach_the_mount():
    config = mounted("cache_dir=/ssd/a:/ssd/b,cache_size=50G", "writeback,ro,rw,noexec,attr_timeout=5")
    assert (config.cache_dir, config.cache_size, config.writeback) == ("/ssd/a:/ssd/b", 50 << 30, True)
    assert (config.mds, config.attr_timeout, config.kernel_options) == (MDS, 5.0, ("noexec",))


def test_paths_are_those_of_the_folder_in_which_they_were_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = mounted("key_file=key,log=mount.log", encrypt="/keys/one")
    assert (config.key_file, config.log) == (f"{tmp_path}/key", f"{tmp_path}/mount.log")


@pytest.mark.parametrize(
    ("place", "options", "words"),
    [
        ("/mnt", "mds=1.2.3.4:5", "'mds'"),
        ("/mnt", "cache_sise=1G", "cache_sise"),
        ("/mnt", "writeback", "cache_dir"),
        ("", "ro", "MOUNTPOINT"),
    ],
)
def test_mistakes_are_refused_before_anything_is_started(place, options, words):
    with pytest.raises(StartupError, match=words) as caught:
        checked_options(place, (options,))
    assert caught.value.exit_code == ExitCode.USAGE
