"""Network namespaces on one bridge, whose connections can be cut, in one direction or both. Needs root.

    with Network([1, 2, 3]) as network:
        ...Popen([*network.prefix(1), "program"])...     # at network.host(1)
        network.cut(1, [2, 3])                            # neither hears the other
        network.heal()

The bridge lies in a namespace of its own, the hub, which has an address too: nothing of the host's own network is
touched, and its addresses mean nothing outside. What runs in a namespace is a program; a test's own coroutine is run
there by run_inside(), in a process of its own.

Namespaces carry the pid of who made them; those of processes that are gone are removed by the next to come.
"""

import asyncio
import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

HUB = 0
_PREFIX = "curvefs-test-"
_NAMESPACES = Path("/run/netns")
_networks = itertools.count(1)


def run(*words, check=True):
    """Run a program; what it said is in the error."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise AssertionError(f"{words}: exit {done.returncode}: {done.stderr}")
    return done.stdout


class Network:
    """See the module. numbers: one namespace each, from 1 to 250. names: of the namespaces, by number."""

    def __init__(self, numbers, names=None):
        self.numbers = list(numbers)
        made = f"{_PREFIX}{os.getpid()}-{next(_networks)}"
        self.names = names or {number: f"{made}-{number}" for number in [HUB, *self.numbers]}

    def __enter__(self):
        _remove_stale()
        try:
            self._make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    @staticmethod
    def host(number):
        """Return the address of a namespace."""
        return f"10.0.0.{number or 254}"

    def prefix(self, number):
        """Return the words that make a command run in a namespace.

        Not `ip netns exec`: its own copy of all mounts would keep the clients of mounts alive that are unmounted here.
        """
        return ("nsenter", f"--net={_NAMESPACES / self.names[number]}")

    def _make(self):
        for name in self.names.values():
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        hub = self.names[HUB]
        run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", hub, "addr", "add", f"{self.host(HUB)}/24", "dev", "bridge")
        run("ip", "-n", hub, "link", "set", "bridge", "up")
        for number in self.numbers:
            name, port = self.names[number], f"port{number}"
            run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", hub)
            run("ip", "-n", name, "addr", "add", f"{self.host(number)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")

    def remove(self):
        """Remove the namespaces with all that is in them. Processes are the caller's."""
        for name in self.names.values():
            if (_NAMESPACES / name).exists():
                run("ip", "netns", "del", name, check=False)

    # ------------------------------------------------------------------------------------------------ cuts

    def cut(self, number, others):
        """Let nothing through between one and the others."""
        self.deafen(number, others)
        self.mute(number, others)

    def deafen(self, number, others):
        """Let one hear nothing of the others; they hear it."""
        for other in others:
            self._iptables(number, "-A", "INPUT", "-s", self.host(other), "-j", "DROP")

    def mute(self, number, others):
        """Let the others hear nothing of one; it hears them."""
        for other in others:
            self._iptables(number, "-A", "OUTPUT", "-d", self.host(other), "-j", "DROP")

    def heal(self):
        """Let everything through."""
        for number in self.numbers:
            self._iptables(number, "-F")

    def _iptables(self, number, *words):
        run(*self.prefix(number), "iptables", "-w", *words)


def _remove_stale():
    for name in sorted(os.listdir(_NAMESPACES)) if _NAMESPACES.exists() else []:
        found = re.fullmatch(rf"{_PREFIX}(\d+)-\d+-\d+", name)
        if found and not Path(f"/proc/{found[1]}").exists():
            run("ip", "netns", "del", name, check=False)


def run_inside(network, function, *arguments, timeout):
    """Run a module's coroutine function in the hub, given the network and JSON values; returns what it returns.

    Raises AssertionError with what it said when it fails.
    """
    words = [function.__module__, function.__name__, json.dumps([network.numbers, network.names]), *arguments]
    done = subprocess.run(
        [*network.prefix(HUB), sys.executable, "-m", "curvefs.test.support.netns", *map(json.dumps, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{function.__name__} {arguments}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Be the process of run_inside()."""
    module, name, network, *arguments = map(json.loads, sys.argv[1:])
    numbers, names = json.loads(network)
    function = getattr(importlib.import_module(module), name)
    network = Network(numbers, {int(number): one for number, one in names.items()})
    print(json.dumps(asyncio.run(function(network, *arguments))))


if __name__ == "__main__":
    main()
