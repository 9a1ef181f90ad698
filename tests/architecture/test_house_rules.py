# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Size, names, headers, and what must never be in a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.sources import name, python, tracked, tree

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
NO_ROOM = {"utils", "util", "common", "helpers", "helper", "misc", "base"}
HEADER = "# Copyright 2026 the verl authors\n# SPDX-License-Identifier: Apache-2.0\n"
PRODUCT = ("verl", "eval", "scripts")

MACHINE_PATH = re.compile(r"(?<![\w.\-/}$])/(?:work|root|home|farm|mnt|Users|opt)/\w")
HOST = re.compile(r"https?://(?:[\w.-]*\.)?(?:pypi|pythonhosted|mirrors?)\.[\w.-]+")


def long_functions(module: ast.Module, where: str) -> list[str]:
    functions = [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [(f"{where}: {f.name}", (f.end_lineno or f.lineno) - f.lineno + 1) for f in functions]
    return [f"{what} has {length} lines" for what, length in lengths if length > MAX_FUNCTION_LINES]


def text_files() -> list[tuple[Path, str]]:
    """Every file that is text, licences and this one aside."""
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data and path.name != "LICENSE" and path != Path(__file__):
            found.append((path, data.decode("utf-8")))
    return found


def test_no_file_is_longer_than_a_sitting() -> None:
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python()}
    assert {where: count for where, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_a_function_is_a_paragraph() -> None:
    found = [problem for path in python() for problem in long_functions(tree(path), name(path))]
    assert not found, "\n".join(found)


def test_the_checker_sees_a_long_function() -> None:
    body = "\n".join("    x = 1" for _ in range(MAX_FUNCTION_LINES))
    assert long_functions(ast.parse(f"def f():\n{body}"), "x.py") == ["x.py: f has 61 lines"]


def test_no_room_is_a_drawer() -> None:
    parts = [(name(path), part.removesuffix(".py")) for path in python() for part in Path(name(path)).parts]
    assert [where for where, part in parts if part in NO_ROOM] == []


def test_every_python_file_begins_with_its_licence() -> None:
    texts = {name(path): path.read_text(encoding="utf-8") for path in python()}
    assert [where for where, text in texts.items() if not re.match(rf"(#!.*\n)?{re.escape(HEADER)}", text)] == []


def test_packages_have_empty_init_files() -> None:
    inits = [path for path in python(*PRODUCT) if path.name == "__init__.py" and name(path) != "verl/__init__.py"]
    assert [name(path) for path in inits if path.read_text(encoding="utf-8").strip() != HEADER.strip()] == []


def test_code_is_ascii() -> None:
    code = [path for path in tracked() if path.suffix in {".py", ".sh", ".toml", ".yaml", ".yml", ".cfg"}]
    assert [name(path) for path in code if not path.read_bytes().isascii()] == []


def test_no_file_names_a_machine() -> None:
    found = [
        f"{name(path)}:{number}: {match.group()}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        for match in (MACHINE_PATH.search(line) or HOST.search(line),)
        if match
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    ["cp {}work/x .", '"{}root/models/a"', "cache={}home/me/cache", "--index-url https:{}{}mirror.example{}simple"],
)
def test_the_checker_sees_a_machine(line: str) -> None:
    line = line.replace("{}", "/")  # spelt out, this file would be found
    assert MACHINE_PATH.search(line) or HOST.search(line)


@pytest.mark.parametrize("line", ["src{}work/x", "${HOME}{}root/x", "https://download.pytorch.org/whl/cpu"])
def test_the_checker_leaves_other_paths_alone(line: str) -> None:
    line = line.replace("{}", "/")
    assert not (MACHINE_PATH.search(line) or HOST.search(line))


def test_only_command_lines_print() -> None:
    """ruff's T20 cannot tell a command line from a library; a module with a `main` may print."""
    printing = [
        name(path)
        for path in python("verl")
        if any(isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print" for n in ast.walk(tree(path)))
        and not any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree(path).body)
    ]
    assert printing == []
