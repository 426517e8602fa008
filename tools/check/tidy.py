"""What linters miss: a file or function that has grown past its idea, a module without a word, a machine's path.

Pure functions over a text; main() walks the files of the project.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 80
TEXTS = ("*.md", "Makefile", "pyproject.toml", "requirements/*.txt", ".ci/*", "tools/**/*.sh", "curvefs/proto/*.proto")
_PATHS = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/[A-Za-z]")
_INDEX = re.compile(r"--(?:extra-)?index-url|--find-links|https?://[^\s]*/simple\b")


def faults_of_text(name: str, text: str) -> list[str]:
    """Return what is wrong with any file of the project."""
    found = [f"{name}: a path of one machine: {match[0]}" for match in _PATHS.finditer(text)]
    if name.startswith(("requirements", "pyproject")):
        found += [f"{name}: names a package index: {match[0]}" for match in _INDEX.finditer(text)]
    return found


def faults_of_module(name: str, text: str) -> list[str]:
    """Return what is wrong with a Python module."""
    tree = ast.parse(text)
    found = faults_of_text(name, text)
    if text.strip() and not ast.get_docstring(tree):
        found.append(f"{name}: no module docstring")
    if (lines := text.count("\n")) > FILE_LINES_MAX:
        found.append(f"{name}: {lines} lines; split it along its ideas")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines")
    return found


def faults_of_project(root: Path) -> list[str]:
    """Return what is wrong with all files; generated ones are left alone."""
    found = []
    for path in sorted(path for folder in ("curvefs", "tools") for path in (root / folder).rglob("*.py")):
        if "_pb2" not in path.name:
            found += faults_of_module(str(path.relative_to(root)), path.read_text())
            if not (path.parent / "__init__.py").exists() and "check" not in path.parts and "bench" not in path.parts:
                found.append(f"{path.relative_to(root)}: its folder has no __init__.py")
    for path in sorted({path for pattern in TEXTS for path in root.glob(pattern) if path.is_file()}):
        found += faults_of_text(str(path.relative_to(root)), path.read_text())
    return found


def main() -> int:
    """Check every file of the project."""
    found = faults_of_project(ROOT)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
