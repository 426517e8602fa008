"""Mount options: what is understood, handed on, ignored and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.client.options import (
    MEMORY_MIN,
    MountConfig,
    describe_options,
    format_options,
    parse_options,
    parse_size,
)
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode


def parse(text):
    return parse_options("demo", "/mnt", f"mds=h:1,{text}")


def refusal(text, **more):
    with pytest.raises(StartupError) as caught:
        parse_options("demo", "/mnt", text, **more)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_options_the_defaults_hold():
    assert parse("") == MountConfig("demo", "/mnt", ["h:1"])
    assert parse("").memory == 300 << 20
    assert parse("").store_timeout == 300.0


@pytest.mark.parametrize("text", ["mds=a:1/b:2", "mds=a:1,b:2", "mds=a:1,ro,mds=a:1/b:2", "mds=a:1,b:2,ro"])
def test_mds_addresses_may_be_separated_by_slashes_or_commas(text):
    assert parse_options("demo", "/mnt", text).mds == ["a:1", "b:2"]


def test_the_environment_names_the_mds_only_if_no_option_does():
    assert parse_options("demo", "/mnt", "", mds_fallback="e:1").mds == ["e:1"]
    assert parse_options("demo", "/mnt", "mds=a:1", mds_fallback="e:1").mds == ["a:1"]


@pytest.mark.parametrize(
    "text",
    [
        *("rw", "auto", "noauto", "user", "users", "owner", "defaults", "nofail", "_netdev"),
        *("noatime", "relatime", "strictatime", "default_permissions", "allow_other"),
        *("x-systemd.automount", "x-anything=1", "X-mount.mkdir", "comment=mine", "defaults,_netdev,nofail"),
    ],
)
def test_standard_options_change_nothing(text):
    assert parse(text) == parse("")


@pytest.mark.parametrize("text", ["ro=1", "ro=0", "rw=", "writeback=1", "allow_other=no", "nodev=5", "sync=x"])
def test_a_flag_takes_no_value(text):
    assert refusal(f"mds=h:1,{text}") == f"mount option '{text.partition('=')[0]}' takes no value"


def test_of_contradicting_options_the_last_one_counts():
    assert parse("ro").read_only
    assert not parse("ro,rw").read_only
    assert parse("rw,ro").read_only
    assert not parse("noallow_other").allow_other
    assert parse("noallow_other,allow_other").allow_other
    assert parse("suid,dev,nosuid").kernel_options == ("dev", "nosuid")
    assert parse("nosuid,noexec,suid,suid").kernel_options == ("noexec", "suid")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("memory=64M", "memory", 64 << 20),
        ("memory=1G", "memory", 1 << 30),
        ("memory=1GiB", "memory", 1 << 30),
        ("attr_timeout=0", "attr_timeout", 0.0),
        ("entry_timeout=2.5", "entry_timeout", 2.5),
        ("store_timeout=20", "store_timeout", 20.0),
        ("uploads=4", "uploads", 4),
        ("profile=work", "profile", "work"),
        ("log=/var/log/x=y", "log", "/var/log/x=y"),
        ("log_level=debug", "log_level", "debug"),
        ("metrics=0.0.0.0:9100", "metrics", "0.0.0.0:9100"),
    ],
)
def test_options_of_ours_are_read_with_their_units(text, name, value):
    assert getattr(parse(text), name) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no MDS"),
        ("mds=nonsense", "'nonsense' is no address"),
        ("mds=a:1,colour=red", "unknown mount option 'colour'"),
        ("mds=a:1,one,ro,two=2", "unknown mount options 'one', 'two'"),
        ("mds=a:1,fs_name=x", "unknown mount option 'fs_name'"),
        ("mds=a:1,mountpoint=x", "unknown mount option 'mountpoint'"),
        ("mds=a:1,memory", "'memory' needs a value"),
        ("mds=a:1,memory=", "'memory' needs a value"),
        ("mds=a:1,memory=lots", "'lots' is no number"),
        ("mds=a:1,memory=1M", "at least 32M"),
        ("mds=a:1,memory=-1", "'-1' is no number"),
        ("mds=a:1,uploads=0", "at least 1"),
        ("mds=a:1,uploads=1.5", "no number"),
        ("mds=a:1,attr_timeout=-1", "out of range"),
        ("mds=a:1,attr_timeout=nan", "out of range"),
        ("mds=a:1,store_timeout=inf", "out of range"),
        ("mds=a:1,log_level=loud", "'loud' is not one of"),
        ("mds=a:1,metrics=here", "'here' is no address"),
        ("mds=a:1,allow_root", "allow_root"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_that_names_it(text, words):
    assert words in refusal(text)


def test_a_value_with_a_comma_cannot_be_written_as_an_option():
    with pytest.raises(StartupError, match="comma"):
        format_options(MountConfig("demo", "/mnt", ["a:1"], log="/a,b"))


def test_every_option_of_ours_is_described():
    described = {name for name, _, _ in describe_options()}
    assert {"memory", "store_timeout", "metadata_timeout", "profile", "log", "metrics"} <= described
    assert ("memory", "300M") in [(name, default) for name, default, _ in describe_options()]


seconds = st.floats(0, 1e6)
words = st.text("abcdefghijklmnopqrstuvwxyz/._-=", min_size=1, max_size=20)
configs = st.builds(
    MountConfig,
    st.just("demo"),
    st.just("/mnt"),
    st.lists(st.sampled_from(["a:1", "b.c:65535", "10.0.0.1:80", "[::1]:7"]), min_size=1, max_size=3),
    read_only=st.booleans(),
    allow_other=st.booleans(),
    kernel_options=st.sets(st.sampled_from(["nosuid", "nodev", "noexec", "sync"])).map(lambda x: tuple(sorted(x))),
    attr_timeout=seconds,
    entry_timeout=seconds,
    negative_timeout=seconds,
    memory=st.integers(MEMORY_MIN, 1 << 40),
    metadata_cache=st.integers(1, 1 << 30),
    store_timeout=seconds,
    metadata_timeout=seconds,
    uploads=st.integers(1, 1000),
    downloads=st.integers(1, 1000),
    profile=words,
    log=words,
    log_level=st.sampled_from(["debug", "info", "warning", "error"]),
    metrics=st.sampled_from(["127.0.0.1:0", "0.0.0.0:9100"]),
)


@given(configs)
def test_options_read_back_to_the_same_configuration(config):
    """What the background process is told is what was asked for."""
    assert parse_options("demo", "/mnt", format_options(config)) == config


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    """Also when it comes from fstab by accident."""
    try:
        parse_options("demo", "/mnt", text)
    except StartupError as error:
        assert error.exit_code == ExitCode.USAGE


@given(st.integers(0, 1 << 20), st.sampled_from([("", 0), ("K", 10), ("m", 20), ("GiB", 30), ("TB", 40)]))
def test_sizes_are_powers_of_1024(number, unit):
    assert parse_size(f"{number}{unit[0]}") == number << unit[1]


@pytest.mark.parametrize("text", ["", "M", "1.5G", "-1", "1 G", "1X", "0x10", "\u0661"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(ValueError):
        parse_size(text)


def test_cache_folders_are_separated_by_colons_and_count_once():
    config = parse("cache_dir=/a:/b:/a,cache_size=5G,free_space=0.2")
    assert config.cache_folders == ("/a", "/b")
    assert (config.cache_size, config.free_space) == (5 << 30, 0.2)
    assert parse("").cache_folders == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache_dir=a", "paths are absolute"),
        ("cache_dir=/a:b", "paths are absolute"),
        ("cache_dir=/a,free_space=1", "out of range"),
        ("cache_dir=/a,cache_size=x", "no number"),
        ("writeback", "needs cache_dir"),
        ("writeback,cache_dir=/a,ro", "contradict each other"),
    ],
)
def test_options_of_the_cache_that_make_no_sense_are_refused(text, said):
    assert said in refusal(f"mds=h:1,{text}")


def test_writeback_is_off_until_said_and_goes_over_to_the_background():
    assert not parse("cache_dir=/a").writeback
    config = parse("cache_dir=/a,writeback,writeback_size=1G")
    assert config.writeback
    assert parse_options("demo", "/mnt", format_options(config)) == config
