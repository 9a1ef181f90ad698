# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts in three styles for questions that are more than a choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eval.benchmark import Asker, Style, Wording
from eval.choices import INSTRUCT, THINKING
from eval.item import EvalItem
from verl.types import IMAGE_MARK, VIDEO_MARK, MediaMetadata

Part = Callable[[EvalItem], str]


def media_marks(item: EvalItem) -> str:
    """Where media go: before everything else, in their order."""
    return "".join(IMAGE_MARK if one.kind == "image" else VIDEO_MARK for one in item.media)


def asking(official: Part, question: Part, form: Part) -> dict[Style, Asker]:
    """The published words, and `question` with a request for `form` inside answer tags."""

    def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        return Wording(user=media_marks(item) + official(item))

    return {"official": ask, "instruct": tagged(question, form, INSTRUCT), "thinking": tagged(question, form, THINKING)}


def tagged(question: Part, form: Part, closing: str) -> Asker:
    """`question`, and `closing` with the form of the answer filled in."""

    def ask(item: EvalItem, media: Sequence[MediaMetadata]) -> Wording:
        return Wording(user=f"{media_marks(item)}{question(item)}\n{closing.format(form=form(item))}")

    return ask
