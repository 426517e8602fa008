"""What linters miss: a file or function that has grown past its idea, a module without a word, a machine's path."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 80
_PATHS = re.compile(r"/(?:home|root|work|Users)/[A-Za-z]")


def faults(path: Path) -> list[str]:
    """Return what is wrong with one file."""
    text = path.read_text()
    lines = text.count("\n")
    tree = ast.parse(text)
    found = []
    if text.strip() and not ast.get_docstring(tree):
        found.append(f"{path}: no module docstring")
    if lines > FILE_LINES_MAX:
        found.append(f"{path}: {lines} lines; split it along its ideas")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    found += [f"{path}: a path of one machine: {match[0]}" for match in _PATHS.finditer(text)]
    return found


def main() -> int:
    """Check every Python file of the project."""
    files = [path for folder in ("curvefs", "tools") for path in (ROOT / folder).rglob("*.py")]
    found = [fault for path in sorted(files) if "_pb2" not in path.name for fault in faults(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
