# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The files of the checkout, as the architecture tests read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = {"build", "dist", "outputs", "checkpoints", "__pycache__", ".git", ".venv", ".hypothesis"}


def tracked() -> list[Path]:
    """Every file that belongs to the project; without git, every file that does not obviously not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(_is_made(part) for part in path.relative_to(ROOT).parts))


def _is_made(part: str) -> bool:
    return part in MADE or part.endswith((".egg-info", "_cache"))


def python(*folders: str) -> list[Path]:
    """Python files of the project, under these top-level folders if any are given."""
    files = [path for path in tracked() if path.suffix == ".py"]
    return [path for path in files if not folders or path.relative_to(ROOT).parts[0] in folders]


def name(path: Path) -> str:
    """For messages and for looking at the parts."""
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    """Which part of the package a file of verl/ is in: "media", "types", "" for verl/__init__.py."""
    part = path.relative_to(ROOT).parts[1].removesuffix(".py")
    return "" if part == "__init__" else part


def tree(path: Path) -> ast.Module:
    """The syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


def imports(module: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported, wherever it is written; `from a import b` gives a.b."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
