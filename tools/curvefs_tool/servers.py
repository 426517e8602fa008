"""What a cluster on one machine consists of: its servers, each with the file or flags that tell it what to be.

etcd is started first, all members at once, since none serves before most are there; then the MDS, then the metaservers
one by one, so that they are numbered in order. They are stopped the other way round.

On one machine etcd listens on loopback, where everybody may connect; so members, and the MDS as their only client, show
a certificate whose key only the owner of the data folder can read.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curvefs.src.client.daemon import client_command
from curvefs.src.client.options import MountConfig
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .children import STATUS_FD, Child
from .settings import HOST, Settings
from .topology.zones import server_name

_OPENSSL_DEADLINE_S = 30.0
_CERTIFICATE_DAYS = 36_500  # a cluster must not stop because a date has come
_STOP_ORDER = ("metaserver", "mds", "etcd")


@dataclass(slots=True)
class Programs:
    """What is run, as the words before the flags; tests put others in their place."""

    mds: list[str] = field(default_factory=lambda: [sys.executable, "-P", "-m", "curvefs.src.mds.main"])
    metaserver: list[str] = field(default_factory=lambda: [sys.executable, "-P", "-m", "curvefs.src.metaserver.main"])
    client: Callable[[MountConfig], list[str]] = lambda config: client_command(config, "--status-fd", STATUS_FD)
    etcd: list[str] = field(default_factory=lambda: [sys.executable, "-P", "-m", "curvefs_tool.etcd_member"])


@dataclass(frozen=True, slots=True)
class Plan:
    """The servers, each kind in the order in which it is started."""

    etcd: list[Child]
    mds: list[Child]
    metaservers: list[Child]


def plan_servers(data: Path, settings: Settings, programs: Programs) -> Plan:
    """Return the servers. Writes what they are told. Raises StartupError."""
    etcd = plan_etcd(data, settings, programs) if settings.etcd else []
    mds = [_told(data, name, programs.mds, _of_mds(data, settings, name)) for name in settings.mds_names]
    keys = _link_key(data, settings)
    metaservers = []
    for number, name in enumerate(settings.metaserver_names, 1):
        own: dict[str, str | int] = {"listen": settings.address(name), "data": str(data / name)}
        own["mds"] = "/".join(settings.mds_addresses)
        if keys is not None:
            own["key_dir"] = str(keys)
        if settings.zones:
            own["server"] = server_name(number)
        metaservers.append(_told(data, name, programs.metaserver, own))
    return Plan(etcd, mds, metaservers)


def plan_etcd(data: Path, settings: Settings, programs: Programs) -> list[Child]:
    """Return the members of etcd. Makes their certificate. Raises StartupError."""
    certificate, key = certificate_of(data)
    if not (certificate.exists() and key.exists()):
        _make_certificate(certificate, key)
    peers = {name: f"https://{HOST}:{settings.ports[f'{name}-peer']}" for name in settings.etcd_names}
    files = {"cert-file": certificate, "key-file": key, "trusted-ca-file": certificate, "client-cert-auth": "true"}
    common = {
        "initial-cluster": ",".join(f"{name}={url}" for name, url in peers.items()),
        "initial-cluster-token": str(data),
        "logger": "zap",
        "log-level": "warn",
        **files,
        **{f"peer-{name}": value for name, value in files.items()},
    }
    members = []
    for name in settings.etcd_names:
        client, metrics = f"https://{settings.address(name)}", f"http://{HOST}:{settings.ports[f'{name}-metrics']}"
        own = {
            "name": name,
            "data-dir": data / name,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peers[name],
            "initial-advertise-peer-urls": peers[name],
            "listen-metrics-urls": metrics,
        }
        flags = [f"--{flag}={value}" for flag, value in (own | common).items()]
        words = [*programs.etcd, settings.address(name), f"{metrics}/health", "etcd", *flags]
        members.append(Child(name, words, _log(data, name)))
    return members


def store_of(data: Path, settings: Settings) -> dict[str, str]:
    """Return what an MDS is told of its store."""
    if not settings.etcd:
        return {}
    certificate, key = map(str, certificate_of(data))
    told = {"etcd_ca": certificate, "etcd_certificate": certificate, "etcd_key": key}
    return {"store": ",".join(settings.etcd_endpoints)} | told


def stop_rank(name: str) -> tuple[int, str]:
    """Return when a server is stopped among others, as a key to sort by."""
    kind = name.partition("-")[0]
    return (_STOP_ORDER.index(kind) if kind in _STOP_ORDER else -1, name)


def certificate_of(data: Path) -> tuple[Path, Path]:
    """Return the files of etcd's certificate, which is its own authority, and of its key."""
    return data / "etc" / "etcd.pem", data / "etc" / "etcd.key"


def _link_key(data: Path, settings: Settings) -> Path | None:
    """Return the folder in which metaservers find the key by the filesystem's name: a link, no copy."""
    if not settings.encrypt:
        return None
    folder = data / "etc" / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / settings.fs
    if not link.is_symlink():
        link.symlink_to(settings.encrypt)
    return folder


def _of_mds(data: Path, settings: Settings, name: str) -> dict[str, str | int]:
    own: dict[str, str | int] = {"listen": settings.address(name), "data": str(data / name)}
    return own | {"replica_count": settings.replicas} | store_of(data, settings)


def _told(data: Path, name: str, program: list[str], config: Mapping[str, str | int]) -> Child:
    path = data / "etc" / f"{name}.toml"
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in config.items())
    path.write_text(text, encoding="utf-8")
    return Child(name, [*program, "--config", str(path)], _log(data, name))


def _toml(value: str | int) -> str:
    """Return a value as TOML has it: JSON, but for pairs of surrogates, and DEL. Raises StartupError (USAGE)."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise StartupError(f"{value!r} is not UTF-8", ExitCode.USAGE) from error
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _log(data: Path, name: str) -> Path:
    return data / "log" / f"{name}.log"


def _make_certificate(certificate: Path, key: Path) -> None:
    """Make a certificate for this machine that both sides show, and its key."""
    if shutil.which("openssl") is None:
        raise StartupError("there is no program openssl, which makes etcd's certificate", ExitCode.USAGE)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=curvefs", "-days", str(_CERTIFICATE_DAYS), "-addext", f"subjectAltName=IP:{HOST}"]
    words += ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
    beside = key.with_name(key.name + ".new")  # whoever finds the key finds the certificate of it
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    done = subprocess.run(
        [*words, "-keyout", str(beside), "-out", str(certificate)],
        capture_output=True,
        text=True,
        timeout=_OPENSSL_DEADLINE_S,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise StartupError(f"openssl cannot make a certificate: {reason[0]}", ExitCode.FAILED)
    beside.rename(key)
