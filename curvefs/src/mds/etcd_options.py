"""The flags that say how etcd is reached, for every program that opens the store of an MDS; they fill MdsConfig."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path()


def etcd_options(function: F) -> F:
    """Add them to a command."""
    for option in (
        click.option("--etcd-password-file", type=_FILE, help="Its first line is the password."),
        click.option("--etcd-user", help="Who to be in etcd."),
        click.option("--etcd-key", type=_FILE, help="The key of that certificate; PEM."),
        click.option("--etcd-certificate", type=_FILE, help="To be shown to etcd; PEM."),
        click.option("--etcd-ca", type=_FILE, help="With it etcd is reached by TLS; PEM."),
        click.option("--etcd-prefix", help="All keys lie below it.  [default: curvefs/]"),
    ):
        function = option(function)
    return function
