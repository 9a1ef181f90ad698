# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Records to the words of a prompt, with the user's Jinja file or with a built-in wording."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from verl.errors import ConfigError, DataError
from verl.types import Record

logger = logging.getLogger(__name__)

# What goes between the answer tags, by problem type.
_ANSWERS = {
    "multiple choice": "the letter of the correct option",
    "numerical": "the number",
    "number": "the number",
    "regression": "the number",
    "boolean": "Yes or No",
    "binary classification": "Yes or No",
    "math": "the final result",
    "ocr": "the text as it is written",
    "temporal grounding": 'the time span in seconds as {"time": [start, end]}',
    "spatial grounding": 'the box as {"boxes": [x1, y1, x2, y2]}',
    "spatial temporal grounding": (
        'the time span and a box for every whole second in it, as {"time": [start, end], "boxes":'
        ' {"second": [x1, y1, x2, y2], ...}}'
    ),
    "tracking": 'a box for every whole second, as {"boxes": {"second": [x1, y1, x2, y2], ...}}',
    "code": "the complete program, without Markdown fences",
    "svg code": "the complete SVG document, without Markdown fences",
    "html code": "the complete HTML document, without Markdown fences",
    "llava": "Response 1, Response 2 or Tie",
}


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
        """The prompt's text, stripped. In scope: content and problem (the question) and every column of the row.

        Raises DataError when the template fails on this row.
        """
        if self._template is None:
            return _plain(record)
        try:
            return self._template.render(_scope(record)).strip()
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{record.where}: template {self._path} fails on this row: {error!r}") from error


def _scope(record: Record) -> dict[str, Any]:
    return {
        **record.fields,
        "content": record.problem,
        "problem": record.problem,
        "problem_type": record.problem_type,
        "data_type": record.data_type,
        "options": list(record.options),
    }


def _plain(record: Record) -> str:
    kind = record.problem_type.lower().replace("_", " ").replace("-", " ")
    options = "\nOptions:\n" + "\n".join(record.options) if record.options else ""
    wanted = _ANSWERS.get(kind, "your answer")
    return f"{record.problem.strip()}{options}\nThink first. Then write {wanted} between <answer> and </answer>."


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
