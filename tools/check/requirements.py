"""Pins the dependencies, with hashes and without naming an index, by uv."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ["--group", "pyproject.toml:test", "--group", "pyproject.toml:lint"]


def main() -> None:
    """Write requirements/run.txt and requirements/dev.txt."""
    for name, groups in (("run", []), ("dev", GROUPS)):
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *groups]
        command += ["--generate-hashes", "--no-header", "-q", "--upgrade", "-o", f"requirements/{name}.txt"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
