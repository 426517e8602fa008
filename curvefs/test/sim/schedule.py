"""What a seed stands for: the size of the group, the network, the disks, the clocks, and which faults, how often.

Each schedule draws its own mix, because uniform chaos hides most states: a group that is shot at all the time never
gets to change its members, and one without loss never truncates.
"""

from dataclasses import dataclass, replace
from random import Random

from curvefs.src.raft.state import Settings

# Faults and requests of the operator, with the weight of each where it is in the mix.
ACTIONS = {
    "split": 4,  # two halves
    "isolate": 4,  # one server, of preference the leader
    "one_way": 3,  # one server hears nobody, or nobody hears it
    "cut_link": 3,  # two servers do not reach each other, of preference the leader and another
    "bridge": 1,  # two halves that share one server
    "kill": 5,  # a process: what it wrote stays
    "kill_leader": 4,
    "power_cut": 3,  # a machine: what it did not sync may be gone
    "power_cut_all": 1,
    "pause": 3,  # a process stands still, time goes on
    "pause_leader": 2,
    "slow_disk": 3,
    "full_disk": 2,
    "failing_disk": 1,
    "transfer": 4,
    "change": 6,  # of members
    "swap": 2,  # several voters at once
    "rebuild": 3,  # a replica that is no member is thrown away and made anew
    "campaign": 2,
    "clock_off": 1,  # the wall clock jumps; the server may not lead
    "lag": 3,  # a follower is cut off until it needs a snapshot
    "burst": 2,  # many requests at once
    "silence": 3,  # nobody asks for anything, so that the group goes quiet
}


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """delay_s + up to jitter_s; with chance ``tail`` up to tail_s more. fifo: links keep the order, as streams do."""

    delay_s: float
    jitter_s: float
    tail: float
    tail_s: float
    loss: float
    duplication: float
    fifo: bool
    encoded: bool  # messages go through their bytes


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """write_s: a write takes up to so long; with chance ``slow`` up to slow_s."""

    write_s: float
    slow: float
    slow_s: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run. messages: so many are delivered before the faults end."""

    seed: int
    servers: int
    voters: int  # of them, at the beginning
    raft: Settings
    network: NetworkSettings
    disk: DiskSettings
    tick_s: float
    actions: tuple[tuple[str, float], ...]
    pause_s: float  # between faults, on average
    lasts_s: float  # a fault, at most
    clients: int
    think_s: float  # a client waits up to so long
    reads: float  # share
    wander: float  # chance that a client asks somewhere else next time
    read_pauses: float  # chance that the process stands still between reading the state and answering
    names: int
    log_keep: int  # entries that stay in memory when it is compacted
    log_max: int  # entries: then it is compacted
    apply_max: int  # entries in one transaction
    chunk_bytes: int  # of a snapshot
    segment_bytes: int
    checkpoint_bytes: int  # of the log, then a checkpoint is made
    messages: int


def draw(seed, *, actions=(), **fixed):
    """Return the schedule of a seed. actions: only these faults; fixed: other fields that are not to be drawn.

    Of raft, network and disk it says single fields: raft={"append_bytes_max": 1}.
    """
    drawn = _draw(seed)
    if actions:
        fixed["actions"] = tuple((name, ACTIONS[name]) for name in actions)
    parts = {name: replace(getattr(drawn, name), **part) for name, part in fixed.items() if isinstance(part, dict)}
    return replace(drawn, **fixed | parts)


def _draw(seed):
    random = Random(f"schedule {seed}")
    rand, choice = random.random, random.choice
    servers = choice((3, 3, 5, 5, 7))
    names = [name for name in ACTIONS if rand() < choice((0.3, 0.6))] or ["kill"]
    log_max = choice((16, 32, 64, 4096))
    return Schedule(
        seed=seed,
        servers=servers,
        voters=choice((servers, servers, servers - servers // 3)),
        raft=Settings(
            election_timeout_s=1.0,
            heartbeat_s=choice((0.1, 0.2, 0.2, 0.3)),
            lease=rand() < 0.8,
            quiet_after_s=choice((0.0, 0.5, 1.0, 1.0)),
            append_bytes_max=choice((256, 2048, 1 << 20)),
            chunk_timeout_s=choice((0.5, 2.0)),
        ),
        network=NetworkSettings(
            delay_s=choice((0.0005, 0.002, 0.02)),
            jitter_s=choice((0.0005, 0.005, 0.05, 0.2)),
            tail=choice((0.0, 0.0, 0.01, 0.1)),
            tail_s=choice((0.1, 1.0, 5.0)),
            loss=choice((0.0, 0.0, 0.01, 0.05, 0.2)),
            duplication=choice((0.0, 0.0, 0.02, 0.1)),
            fifo=rand() < 0.4,
            encoded=rand() < 0.1,
        ),
        disk=DiskSettings(
            write_s=choice((0.0005, 0.005, 0.02)),
            slow=choice((0.0, 0.01, 0.1)),
            slow_s=choice((0.1, 1.0)),
        ),
        tick_s=choice((0.05, 0.1, 0.1)),
        actions=tuple((name, ACTIONS[name] * (0.2 + rand())) for name in names),
        pause_s=choice((1.0, 2.0, 3.0, 5.0)),
        lasts_s=choice((0.5, 1.5, 1.5, 4.0)),
        clients=choice((2, 3, 4)),
        think_s=choice((0.1, 0.3, 0.3, 0.6, 2.0)),
        reads=choice((0.2, 0.5, 0.8)),
        wander=choice((0.0, 0.02, 0.1, 0.4)),
        read_pauses=choice((0.0, 0.0, 0.002, 0.02)),
        names=choice((2, 4, 8)),
        log_keep=log_max // 4,
        log_max=log_max,
        apply_max=choice((2, 16, 256)),
        chunk_bytes=choice((64, 512, 4096)),
        segment_bytes=choice((2048, 16384, 1 << 20)),
        checkpoint_bytes=choice((500, 5000, 15_000)),
        messages=2000,
    )
