"""Generates the protobuf modules beside their sources, or (--check) says whether they are fresh."""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def generate(into: Path) -> None:
    """Run protoc for all sources, output below a folder."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "curvefs" / "proto").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    command += [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([*command, *sources], cwd=ROOT, check=True)


def main() -> int:
    """Generate, or compare."""
    if "--check" not in sys.argv:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = sorted((Path(folder) / "curvefs" / "proto").iterdir())
        stale = [
            path.name
            for path in fresh
            if not (committed := ROOT / "curvefs" / "proto" / path.name).exists()
            or not filecmp.cmp(path, committed, shallow=False)
        ]
    if stale:
        print(f"generated protobuf is stale: {', '.join(stale)}; run make proto")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
