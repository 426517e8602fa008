"""Proves that the simulator can fail: plants each fault of faults/ into a copy of the code, and runs until it is found.

A fault is a patch: what it is, which checkers can find it, perhaps what is not drawn of the schedules (a fault that
shows in a rare order of events only is looked for where that is less rare), and a unified diff against this tree. A
patch also shifts what happens in a schedule, so that it may meet a bug of the code as it is. Therefore a failure counts
only if it is one that the fault can cause, and the same seed is clean without it; and the table means something only as
long as `make sim` is clean. The command ends with 1 if a fault was not found or does not apply any more.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from curvefs.src.metaserver.copyset import group
from curvefs.test.sim import runner

ROOT = Path(__file__).resolve().parents[3]
FAULTS = Path(__file__).parent / "faults"
SCHEDULES_MAX = 10_000
_TIME_S_MAX = 7200
_FIXED = "Schedules: "


@dataclass(frozen=True, slots=True)
class Finding:
    """How it went with a fault. invariant: the checker that found it, or None; why: it could not be tried."""

    name: str
    what: str
    invariant: str | None = None
    seed: int = 0
    schedules: int = 0
    ignored: dict[str, int] = field(default_factory=dict)  # failures before it that the fault does not explain
    why: str = ""


def run(name):
    """Plant a fault and look for it."""
    patch = FAULTS / f"{name}.patch"
    what, checkers, third, *_ = patch.read_text().splitlines()
    fixed = third.removeprefix(_FIXED) if third.startswith(_FIXED) else "{}"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "curvefs", Path(folder) / "curvefs", ignore=shutil.ignore_patterns("__pycache__"))
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(patch)], cwd=folder, capture_output=True, text=True, check=False
        )
        if applied.returncode:
            return Finding(name, what, why=f"it does not apply: {applied.stderr.strip()}")
        first, ignored = 0, Counter()
        while True:
            found = _python(folder, "curvefs.test.sim.plant", "--look", str(first), checkers, fixed)
            if found.returncode:
                return Finding(name, what, why=found.stderr.strip()[-500:])
            finding = Finding(name, what, **json.loads(found.stdout.splitlines()[-1]))
            ignored += finding.ignored
            if finding.invariant is None or _is_clean(finding.seed, fixed):
                return replace(finding, ignored=ignored)
            ignored[finding.invariant] += 1
            first = finding.seed + 1


def _is_clean(seed, fixed):
    return _python(ROOT, "curvefs.test.sim", "--seed", str(seed), "--fix", fixed).returncode == 0


def _python(folder, module, *args):
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIME_S_MAX,
    )


def look(first, checkers, fixed):
    """Run schedules here, from a seed on, until one of these checkers finds something; print what."""
    assert Path(group.__file__).is_relative_to(ROOT), "the code with the fault is what runs"
    runner.prepare()
    fit = checkers.removeprefix("Found by: ").split(", ")
    ignored = Counter()
    for seed in range(first, SCHEDULES_MAX):
        invariant = runner.run_collecting(seed, **fixed).invariant
        if invariant in fit:
            print(json.dumps({"invariant": invariant, "seed": seed, "schedules": seed + 1, "ignored": ignored}))
            return
        if invariant is not None:
            ignored[invariant] += 1
    print(json.dumps({"schedules": SCHEDULES_MAX, "ignored": ignored}))


def main():
    """Look for the faults named, or for all. Returns the exit code."""
    if sys.argv[1:2] == ["--look"]:
        look(int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
        return 0
    known = sorted(path.stem for path in FAULTS.glob("*.patch"))
    names = sys.argv[1:] or known
    if unknown := sorted({*names} - {*known}):
        print(f"there is no fault '{unknown[0]}'; {FAULTS.relative_to(ROOT)} has them", file=sys.stderr)
        return 2
    print(f"{'fault':<44} {'found by':<26} {'after':>9}   what it is", flush=True)
    missed = 0
    with ThreadPoolExecutor(runner.WORKERS) as pool:
        for done in as_completed([pool.submit(run, name) for name in names]):
            finding = done.result()
            missed += finding.invariant is None
            after = f"{finding.schedules} runs"
            print(f"{finding.name:<44} {finding.invariant or 'NOT FOUND':<26} {after:>9}   {finding.what}", flush=True)
            if finding.ignored:
                names = ", ".join(f"{name} ({count})" for name, count in sorted(finding.ignored.items()))
                print(f"    not counted before that, since it does not explain them: {names}", flush=True)
            if finding.why:
                print(f"    {finding.why}", flush=True)
    print(f"{len(names) - missed} of {len(names)} faults found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
