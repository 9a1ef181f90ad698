# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The one answer in a response, chosen by where it stands and never by what the truth is.

Every scan is linear in the length of the response: no pattern has an unbounded repeat over arbitrary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

MAX_RESPONSE_CHARS = 400_000
MAX_TAGS = 1_000
MAX_BOXED_CHARS = 4_000
MAX_BOXES = 16
MAX_END_TOKENS = 64
END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<eos>")

_TAG = re.compile(r"<(?=[\s/ta])\s{0,4}+(/?+)\s{0,4}+(think|thought|answer)\s{0,4}>", re.IGNORECASE)
_BOX = re.compile(r"\\boxed\s{0,2}\{")
_BRACE = re.compile(r"[{}]")
_STATEMENT = re.compile(
    r"\banswer\*{0,2}\s{0,3}(?:(?:is|would be|should be)\b\s{0,3}[:\uff1a]?|[:=\uff1a])(?:\*\*(?=\s))?"
    "|\u7b54\u6848(?:[\u662f\u4e3a]\\s?[:\uff1a]?|[:\uff1a])",  # Chinese "answer" and "is" or a colon
    re.IGNORECASE,
)


_HEADING = re.compile(r"[#*\s]{0,8}(?:the )?(?:final |correct )?answer(?: is)?[:\uff1a*\s]{0,8}", re.IGNORECASE)


class Carrier(Enum):
    """What marked the answer as the answer."""

    TAG = "tag"
    OPEN_TAG = "open tag"
    BOXED = "boxed"
    STATEMENT = "statement"
    BARE = "bare"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The candidate text (stripped, empty when there is none) and how the response around it is built."""

    text: str
    carrier: Carrier
    is_clean: bool = False  # one filled answer block, outside the reasoning, last; think tags balanced
    is_reasoned: bool = False  # clean, and only one filled think block stands before it


NO_ANSWER = Answer(text="", carrier=Carrier.NONE)


class _Tag(NamedTuple):
    start: int
    end: int
    is_answer: bool
    closes: bool


def read_answer(response: str, bare_chars: int = 64) -> Answer:
    """The answer of `response`: tag, else unclosed tag, else boxed, else a final statement, else bare text.

    Only text after the reasoning counts. Bare text is an answer up to `bare_chars` characters. While a think
    tag is open, only an answer block at the very end counts. Over 400,000 characters or 1,000 tags there is none.
    """
    if len(response) > MAX_RESPONSE_CHARS:
        return NO_ANSWER
    text = response[: _content_end(response)]
    tags = _tags(text)
    if len(tags) > MAX_TAGS:
        return NO_ANSWER
    thoughts = [tag for tag in tags if not tag.is_answer]
    is_thinking = bool(thoughts) and not thoughts[-1].closes
    start = thoughts[-1].end if thoughts else 0
    after = [tag for tag in tags if tag.is_answer and tag.start >= start]
    block = _last_block(after)
    if is_thinking and (block is None or block[1].end < len(text)):
        return NO_ANSWER
    if block is not None:
        return _tagged(text, tags, block)
    opened = [tag for tag in after if not tag.closes]
    if opened:
        return Answer(text=text[opened[-1].end :].strip(), carrier=Carrier.OPEN_TAG)
    region = _TAG.sub("", text[start:]) if after else text[start:]
    return _untagged(region.strip(), bare_chars)


def unwrap_truth(answer: Any) -> Any:
    """A ground truth without the tags some data files put around it; other JSON values as they are."""
    if not isinstance(answer, str):
        return answer
    tags = _tags(answer)
    block = _last_block([tag for tag in tags if tag.is_answer])
    block = block or _last_block([tag for tag in tags if not tag.is_answer])
    return (answer[block[0].end : block[1].start] if block else answer).strip()


def _tags(text: str) -> list[_Tag]:
    """The tags of `text`, one more than allowed at most."""
    found = islice(_TAG.finditer(text), MAX_TAGS + 1)
    return [_Tag(*tag.span(), tag[2].lower() == "answer", tag[1] == "/") for tag in found]


def _content_end(text: str) -> int:
    """Length of `text` without trailing whitespace and end-of-sequence tokens."""
    end = len(text)
    for _ in range(MAX_END_TOKENS):
        while end and text[end - 1].isspace():
            end -= 1
        token = next((token for token in END_TOKENS if text.endswith(token, 0, end)), None)
        if token is None:
            break
        end -= len(token)
    return end


def _last_block(tags: Sequence[_Tag]) -> tuple[_Tag, _Tag] | None:
    """The last opening tag that is directly followed by a closing one, and that one."""
    pairs = zip(reversed(tags[:-1]), reversed(tags[1:]), strict=True)
    return next(((first, second) for first, second in pairs if second.closes and not first.closes), None)


def _tagged(text: str, tags: Sequence[_Tag], block: tuple[_Tag, _Tag]) -> Answer:
    opened, closed = block
    found = text[opened.end : closed.start].strip()
    is_clean = bool(found) and closed.end == len(text) and _is_tidy(tags)
    is_reasoned = is_clean and _opens_with_thought(text, tags, opened)
    return Answer(text=found, carrier=Carrier.TAG, is_clean=is_clean, is_reasoned=is_reasoned)


def _is_tidy(tags: Sequence[_Tag]) -> bool:
    """Think tags open and close in turn (the prompt may open the first), one answer block outside them."""
    is_thinking = next((tag.closes for tag in tags if not tag.is_answer), False)
    answers = []
    for tag in tags:
        if tag.is_answer:
            answers += [] if is_thinking else [tag.closes]
        elif tag.closes != is_thinking:
            return False
        else:
            is_thinking = not is_thinking
    return not is_thinking and answers == [False, True]


def _opens_with_thought(text: str, tags: Sequence[_Tag], answer: _Tag) -> bool:
    thoughts = [tag for tag in tags if not tag.is_answer]
    if [tag.closes for tag in thoughts] != [False, True]:
        return False
    opened, closed = thoughts
    around = text[: opened.start] + text[closed.end : answer.start]
    return not around.strip() and bool(text[opened.end : closed.start].strip())


def _untagged(region: str, bare_chars: int) -> Answer:
    boxed = next(_boxes(region), None)
    if boxed is not None:
        return Answer(text=boxed.strip(), carrier=Carrier.BOXED)
    before, _, last_line = region.rpartition("\n")
    ends = [statement.end() for statement in _STATEMENT.finditer(last_line)]
    stated = last_line[ends[-1] :].strip() if ends else ""
    if not stated and _HEADING.fullmatch(before.rstrip().rpartition("\n")[2]):
        stated = last_line.strip()
    if stated:
        return Answer(text=stated, carrier=Carrier.STATEMENT)
    if region and len(region) <= bare_chars:
        return Answer(text=region, carrier=Carrier.BARE)
    return NO_ANSWER


def _boxes(text: str) -> Iterator[str]:
    r"""Contents of balanced \boxed{}, the last one first, among the last few."""
    end = len(text)
    for _ in range(MAX_BOXES):
        end = text.rfind("\\boxed", 0, end)
        if end < 0:
            return
        opened = _BOX.match(text, end)
        closed = _closing_brace(text, opened.end()) if opened else None
        if opened and closed is not None:
            yield text[opened.end() : closed]


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for brace in _BRACE.finditer(text, start, start + MAX_BOXED_CHARS):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return None
