# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Records to the words of a prompt, with the user's Jinja file or with a built-in wording."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from verl.errors import ConfigError, DataError
from verl.rewards.contract import Wording, find_task
from verl.scoring.choices import Options
from verl.types import NotScorable, Record

logger = logging.getLogger(__name__)


class Template:
    """Words a prompt. Compiled once; safe to use from several threads."""

    def __init__(self, path: str | None) -> None:
        """Raises ConfigError when there is no such file or it is not Jinja."""
        self._path = path
        self._template = None
        if path is not None:
            file = Path(path).expanduser()
            if not file.is_file():
                raise ConfigError(f"data.format_prompt={path}: there is no such file")
            environment = ImmutableSandboxedEnvironment(undefined=_empty_and_logged(path))
            try:
                self._template = environment.from_string(file.read_text(encoding="utf-8").strip())
            except TemplateError as error:
                line = getattr(error, "lineno", "?")
                raise ConfigError(f"data.format_prompt={path}: line {line}: {error}") from error

    def render(self, record: Record) -> str:
        """The prompt's text, stripped. In scope: content and problem (the question), every column of the row, and from
        the row's task answer_form, answer_example and answer_approach (see Wording), answer_options (with letters).

        Raises DataError when the template fails on this row.
        """
        if self._template is None:
            return _plain(record)
        try:
            return self._template.render(_scope(record)).strip()
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{record.where}: template {self._path} fails on this row: {error!r}") from error


def _scope(record: Record) -> dict[str, Any]:
    wording = _wording(record)
    return {
        **record.fields,
        "content": record.problem,
        "problem": record.problem,
        "problem_type": record.problem_type,
        "data_type": record.data_type,
        "options": list(record.options),
        "answer_form": wording.form,
        "answer_example": wording.example,
        "answer_approach": wording.approach,
        "answer_options": _lettered(record.options),
    }


def _wording(record: Record) -> Wording:
    task = find_task(record.problem_type)
    return Wording() if isinstance(task, NotScorable) else task.wording(record)


def _lettered(options: Sequence[str]) -> list[str]:
    """The options with the letters by which they are scored."""
    lines = [f"{letter}. {text}" for letter, text in Options.of(options).texts.items()] if options else []
    return lines if len(lines) == len(options) else list(options)


def _plain(record: Record) -> str:
    """The built-in wording. It asks for the reasoning in tags, so it fits both format policies."""
    wording = _wording(record)
    options = "\nOptions:\n" + "\n".join(_lettered(record.options)) if record.options else ""
    example = (
        f" For example:\n<think>your reasoning</think>\n<answer>{wording.example}</answer>" if wording.example else ""
    )
    return (
        f"{record.problem.strip()}{options}\n\nFirst {wording.approach}, inside <think> </think> tags. Then write "
        f"{wording.form}, inside <answer> </answer> tags, and nothing after it.{example}"
    )


def _empty_and_logged(path: str) -> type[Undefined]:
    """Names that a row does not have render as nothing; each is logged once."""
    seen: set[str] = set()

    class Empty(Undefined):
        def __str__(self) -> str:
            name = str(self._undefined_name)
            if name not in seen:
                seen.add(name)
                logger.warning("template %s uses %r, which a row does not have; it is left empty", path, name)
            return ""

    return Empty
