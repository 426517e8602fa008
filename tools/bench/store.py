"""What blocks cost the client in CPU: S3Store beside boto3 as it comes, on a local SeaweedFS; and each block format.

    python tools/bench/store.py [--rounds 3]

CPU is that of this process alone (user and system), the least of some rounds: what else runs on the machine shows less
in it than in times.
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from curvefs_tool.seaweed import WeedServer

from curvefs.src.object.s3 import S3Store
from curvefs.src.slices.block_formats import FORMATS
from curvefs.src.slices.codec import BlockCodec

SMALL, LARGE = 4 << 10, 4 << 20
SMALL_COUNT, LARGE_COUNT, FORMAT_COUNT = 500, 64, 16
GIB = 1 << 30


def cpu_s(call: Callable[[int], object], count: int, rounds: int) -> float:
    """Return the CPU seconds of one call, the least of some rounds."""
    call(0)
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for number in range(count):
            call(number)
        least = min(least, (time.process_time() - began) / count)
    return least


def sdk(server: WeedServer) -> dict[str, Callable[[str, bytes], object]]:
    """Return put and get by boto3, with what makes it cheaper: no signed payload, no checksums."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return {
        "put": lambda key, data: client.put_object(Bucket="curvefs", Key=key, Body=data),
        "get": lambda key, _: client.get_object(Bucket="curvefs", Key=key)["Body"].read(),
    }


def ours(server: WeedServer) -> dict[str, Callable[[str, bytes], object]]:
    """Return put and get by S3Store."""
    store = S3Store("curvefs", endpoint=server.endpoint)
    return {"put": store.put, "get": lambda key, _: store.get(key)}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print_formats(rounds)
    with tempfile.TemporaryDirectory(prefix="curvefs-bench-") as folder:
        server = WeedServer(Path(folder), dies_with_parent=True)
        try:
            server.start()
            os.environ |= server.environment
            print(f"{'':<10} {'call':<5} {'4 KiB, ms':>10} {'4 MiB, s/GiB':>13}")
            for name, calls in (("boto3", sdk(server)), ("S3Store", ours(server))):
                for operation, call in calls.items():
                    print_row(name, operation, call, rounds)
        finally:
            server.stop()


def print_formats(rounds: int) -> None:
    """Measure encoding and decoding a block, of noise and of what compresses to half."""
    noise = os.urandom(LARGE)
    half = b"".join(noise[at : at + 32] + bytes(32) for at in range(0, LARGE, 64))
    print(f"{'format':<16} {'noise: encode, decode s/GiB':>28} {'half: encode, decode s/GiB':>28} {'size':>6}")
    for number, chosen in FORMATS.items():
        name = f"{number} {chosen.compression}{' encrypted' if chosen.encrypted else ''}"
        figures = []
        for data in (noise, half):
            codec = BlockCodec(os.urandom(32), os.urandom)
            stored = bytes(codec.encode(number, "name", [data]))
            calls = (partial(codec.encode, number, "name", [data]), partial(decode, codec, number, stored))
            costs = [cpu_s(lambda _, call=call: call(), FORMAT_COUNT, rounds) * GIB / LARGE for call in calls]
            figures.append(f"{costs[0]:.2f}, {costs[1]:.2f}")
        print(f"{name:<16} {figures[0]:>28} {figures[1]:>28} {len(stored) / LARGE:>6.2f}", flush=True)


def decode(codec: BlockCodec, number: int, stored: bytes) -> None:
    """Read a whole block."""
    codec.read(number, "name", 0, LARGE, LARGE, fetch=lambda offset, size: stored[offset : offset + size])


def print_row(name: str, operation: str, call: Callable[[str, bytes], object], rounds: int) -> None:
    """Measure one call with small and with large objects."""
    small, large = os.urandom(SMALL), os.urandom(LARGE)
    small_s = cpu_s(lambda number: call(f"small/{number}", small), SMALL_COUNT, rounds)
    large_s = cpu_s(lambda number: call(f"large/{number % 8}", large), LARGE_COUNT, rounds)
    print(f"{name:<10} {operation:<5} {small_s * 1e3:>10.3f} {large_s * GIB / LARGE:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
