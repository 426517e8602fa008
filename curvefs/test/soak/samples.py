"""What is measured again and again, and what is said of it. Sizes in bytes, times in seconds since the beginning."""

import csv
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from statistics import mean

PARTS = 4  # the first and the last of so many parts of the time are compared


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment. slices: the most of a chunk. bucket: of all objects."""

    at_s: float
    written: int
    read: int
    slices: int
    bucket: int
    writer_rss: int
    reader_rss: int
    metaserver_rss: int


def save(samples, path):
    """Write them as a table."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Sample)])
        table.writeheader()
        table.writerows(asdict(one) for one in samples)


def rate(samples):
    """Return bytes written per second over some samples."""
    first, last = samples[0], samples[-1]
    return (last.written - first.written) / max(last.at_s - first.at_s, 1e-9)


def summary(samples):
    """Return what is to be said, as lines."""
    size = max(len(samples) // PARTS, 2)
    begin, end = samples[:size], samples[-size:]

    def both(name, unit=1 << 20):
        values = [mean(getattr(one, name) for one in part) / unit for part in (begin, end)]
        return (
            f"{values[0]:.0f} at the beginning, {values[1]:.0f} at the end, {_most(samples, name) / unit:.0f} at most"
        )

    rates = [rate(part) / 2**20 for part in (begin, end)]
    return [
        f"{samples[-1].at_s:.0f} s; MiB/s written: {rates[0]:.1f} at the beginning, {rates[1]:.1f} at the end",
        f"slices of a chunk: {both('slices', 1)}",
        f"MiB in the bucket: {both('bucket')}",
        *(f"MiB of the {name}: {both(f'{name}_rss')}" for name in ("writer", "reader", "metaserver")),
    ]


def plot(samples, path):
    """Draw the four: throughput, slices, bucket, memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(4, 1, figsize=(9, 11), sharex=True)
    minutes = [one.at_s / 60 for one in samples]
    rates = [0.0, *(rate(pair) / 2**20 for pair in pairwise(samples))]
    axes[0].plot(minutes, rates)
    axes[0].set_ylabel("MiB/s written")
    axes[1].plot(minutes, [one.slices for one in samples])
    axes[1].set_ylabel("most slices of a chunk")
    axes[2].plot(minutes, [one.bucket / 2**20 for one in samples])
    axes[2].set_ylabel("MiB in the bucket")
    for name in ("writer_rss", "reader_rss", "metaserver_rss"):
        axes[3].plot(minutes, [getattr(one, name) / 2**20 for one in samples], label=name)
    axes[3].set_ylabel("MiB of memory")
    axes[3].legend()
    axes[3].set_xlabel("minutes")
    for one in axes:
        one.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path)


def _most(samples, name):
    return max(getattr(one, name) for one in samples)
