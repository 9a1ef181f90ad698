# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""From a file and a command line to a Config."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl.config.compat import RENAMED, Given, modernise
from verl.config.keys import Key, list_keys, list_sections
from verl.config.support import remark
from verl.config.trainer import Config
from verl.errors import ConfigError
from verl.registry import nearest

KEYS: dict[str, Key] = {key.path: key for key in list_keys(Config)}
SECTIONS = frozenset(list_sections(Config))

COMMAND_LINE = "on the command line"


def load(argv: Sequence[str]) -> Config:
    """The configuration that `config=FILE key=value ...` asks for: defaults, then the file, then the keys.

    Raises ConfigError naming every unknown key (with the nearest known one) and every value of a wrong type.
    What keys demand of each other is checked by `verl.config.checks.check`.
    """
    file, assignments = _split(argv)
    given: dict[str, Given] = {}
    problems: list[str] = []
    if file is not None:
        _collect(_read_file(file), "", f"in {file}", given, problems)
    for text in assignments:
        _collect(_parse(text), "", COMMAND_LINE, given, problems)
    _raise_if(problems)
    return _build(modernise(given, KEYS))


def to_yaml(config: Config) -> str:
    """Every value in force, as a file that `load` reads back to an equal Config."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def help_text() -> str:
    """Usage, and every key with its type, default and meaning."""
    lines = [
        "usage: python -m verl.trainer.main [config=FILE] [key=value ...]",
        "",
        "Defaults are overridden by the YAML file, and that by key=value, for example",
        "  python -m verl.trainer.main config=run.yaml worker.rollout.n=8 trainer.logger=[console,file]",
    ]
    hints = get_type_hints(Config)
    for section, kind in hints.items():
        lines += ["", f"{section}: {kind.__doc__}"]
        lines += [line for key in KEYS.values() if key.path.startswith(f"{section}.") for line in _describe(key)]
    return "\n".join(lines) + "\n"


def _describe(key: Key) -> Iterator[str]:
    yield f"  {key.path}={_spell(key.default)}  [{key.type_name}]"
    text = f"{key.meaning} {remark(key)}".strip()
    yield textwrap.fill(text, width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _spell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "[" + ",".join(map(_spell, value)) + "]" if isinstance(value, tuple) else str(value)


def _split(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The file and the assignments."""
    files, assignments = [], []
    for text in argv:
        name, equals, value = text.partition("=")
        if not equals or name.startswith("-"):
            raise ConfigError(f"{text!r} on the command line: write key=value, without dashes; --help lists the keys")
        if not value:
            raise ConfigError(f"{text!r} on the command line has no value; write {name}=null for none")
        if name == "config":
            files.append(value)
        else:
            assignments.append(text)
    if len(files) > 1:
        raise ConfigError(f"config= is given {len(files)} times ({', '.join(files)}); give one file")
    return (files[0] if files else None), assignments


def _read_file(file: str) -> dict[str, Any]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"config={file}: there is no such file")
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not a YAML mapping of sections: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{file} holds a list; a configuration is a mapping with the sections {_names()}")
    return _spelt(tree, yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader))  # all scalars are text


def _spelt(tree: Mapping[Any, Any], written: Any, prefix: str = "") -> dict[str, Any]:
    """`tree` with numbers as they are `written` where a key is text: YAML takes 0.5_2 for 0.52 and 0012 for 10."""
    texts = written if isinstance(written, dict) else {}
    spelt: dict[str, Any] = {}
    for name, value in tree.items():
        path, text = f"{prefix}{name}", texts.get(str(name))
        if isinstance(value, Mapping) and path not in KEYS:
            spelt[str(name)] = _spelt(value, text, f"{path}.")
        elif path in KEYS and KEYS[path].is_text and type(value) in (int, float) and isinstance(text, str):
            spelt[str(name)] = text
        else:
            spelt[str(name)] = value
    return spelt


def _parse(text: str) -> dict[str, Any]:
    """One assignment as a tree. A key of type str takes `0012` and `no` as written, not as YAML reads them."""
    path, _, written = text.partition("=")
    try:
        tree = OmegaConf.to_container(OmegaConf.from_dotlist([text]))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"cannot read {text!r} from the command line: {error}; quote the value") from error
    assert isinstance(tree, dict)
    if path in KEYS and KEYS[path].is_text and isinstance(_leaf(tree, path), bool | int | float):
        return {path: written}
    return {str(name): value for name, value in tree.items()}


def _leaf(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree[name]
    return tree


def _collect(tree: Mapping[Any, Any], prefix: str, origin: str, given: dict[str, Given], problems: list[str]) -> None:
    """Flatten `tree` to dotted keys in `given`; what does not belong goes to `problems`."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if path in KEYS or path in RENAMED:
            given[path] = Given(value=_merge(given.get(path), value), origin=origin)
        elif path not in SECTIONS:
            known = [*KEYS, *SECTIONS, *RENAMED]
            problems.append(f"unknown key {path} {origin}{nearest(path, known)}")
        elif isinstance(value, Mapping):
            _collect(value, f"{path}.", origin, given, problems)
        elif value is not None:
            problems.append(f"{path}={value!r} {origin}: {path} is a section; set the keys in it")


def _merge(before: Given | None, value: Any) -> Any:
    if before is not None and isinstance(before.value, dict) and isinstance(value, dict):
        return {**before.value, **value}
    return value


def _build(given: Mapping[str, Given]) -> Config:
    _raise_if([problem for path, item in given.items() for problem in _slips(path, item)])
    try:
        config = OmegaConf.to_object(_assign(given))
    except OmegaConfBaseException as error:
        problems = [problem for path, item in given.items() for problem in _misfit(path, item)]
        raise ConfigError("\n".join(problems) or f"cannot resolve {error}") from error
    assert isinstance(config, Config)
    return config


@functools.cache
def _schema() -> DictConfig:
    return OmegaConf.structured(Config)


def _assign(given: Mapping[str, Given]) -> DictConfig:
    tree: dict[str, Any] = {}
    for path, item in given.items():
        *parents, name = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = item.value
    config = OmegaConf.merge(_schema(), tree)
    assert isinstance(config, DictConfig)
    return config


def _slips(path: str, item: Given) -> Iterator[str]:
    """What OmegaConf would let pass."""
    if item.value == "???":
        yield f"{path} {item.origin} is still to be filled in (???)"
    if isinstance(item.value, bool) and KEYS[path].is_text:
        yield f"{path}={item.value!r} {item.origin}: expected {KEYS[path].type_name}; quote the word"


def _misfit(path: str, item: Given) -> Iterator[str]:
    try:
        _assign({path: item})
    except OmegaConfBaseException:
        yield f"{path}={item.value!r} {item.origin}: expected {KEYS[path].type_name}"


def _raise_if(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


def _names() -> str:
    return ", ".join(sorted(name for name in SECTIONS if "." not in name))
