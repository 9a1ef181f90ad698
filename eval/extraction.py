# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How official scripts read an answer, with their faults: only then are figures comparable with published ones.

Every function takes the text of a response, and most return a letter, or an empty string where the script finds none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

# What scripts take away first: of their lists, what holds a capital in range, for the rest changes nothing. Those of
# Video-MME and VideoMathQA lack commas, so that "Best answer:" and "Best option:" are only found joined together.
VIDEO_MATH_LEADS = ("Best answer:Best option:",)
VIDEO_MME_LEADS = ("Answer:",)
VIDEO_MME_V2_LEADS = ("Final Answer:", "Best answer:", "Best option:", "Answer:")
LONG_VIDEO_BENCH_LEADS = ("Best answer:", "Best option:")

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = re.compile(r"\d,\d")
_LABELLED = re.compile(r"([A-E])\.\s*.+", re.IGNORECASE)
_ALONE = re.compile(r"\b[A-E]\b", re.IGNORECASE)
_DECLARED = re.compile(r"(?:answer|option)\s*(?:is|:)\s*([A-E])", re.IGNORECASE)
MAX_POINTS = 32  # as many full stops ODV-Bench takes away


def first_capital(response: str, letters: str, leads: Sequence[str]) -> str:
    """Video-MME, Video-MME-v2, VideoMathQA, LongVideoBench: the first capital in range, wherever it stands."""
    text = response.strip()
    for lead in leads:
        text = text.replace(lead, "")
    found = re.search(f"[{letters}]", text)
    return found[0] if found else ""


def before_bracket(response: str) -> str:
    """MLVU: the character before the first ")", and the whole response where there is none."""
    before, bracket, _ = response.partition(")")
    return before[-1:] if bracket else response


def polished(response: str) -> str:
    """LVBench and MotionBench: the first character before any ")", and after the first "(" there, up to the next."""
    text = response.strip().split(")")[0]
    bracketed = text.split("(")[1:2] or [text]
    return bracketed[0].strip()[:1]


def tagged_letter(response: str, letters: str = "ABCDEF") -> str:
    """Video-Holmes: in the last answer tag, else everywhere, the first letter that is set off, else any that occurs."""
    blocks = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
    text = blocks[-1].strip() if blocks else response
    for letter in letters:
        if any(mark in text for mark in (f"{letter} ", f"{letter}:", f"[{letter}")):
            return letter
    return next((letter for letter in letters if letter in text), "")


def first_word(response: str) -> str:
    """VSI-Bench: the first word, without full stops."""
    return response.split(" ")[0].rstrip(".").strip()


def same_first_word(response: str, answer: str) -> bool:
    """MVBench: the first words contain one another; `answer` is "(a) text". No words at all are contained in any."""
    given, wanted = response.lower().split(" ")[0], answer.lower().split(" ")[0]
    return given.replace(".", "") in wanted or wanted in given


def last_capital(response: str) -> str:
    """MINERVA: the last letter after "answer is" or "option:", else the last capital from A to E."""
    if declared := _DECLARED.findall(response):
        return declared[-1].upper()
    return next((letter for letter in reversed(response.replace("Answer:", "")) if letter in "ABCDE"), "")


def letter_alone(response: str) -> str:
    """ODV-Bench: the letter before "A. text", else the first from A to E that is a word, "a" as well; else the text."""
    if found := _LABELLED.fullmatch(response.strip()):
        return found[1].upper()
    text = " ".join(re.split(r"[\n\t]", response)).strip()
    bare = text
    for sign in _PUNCTUATION:
        joins = f"{sign} " in text or f" {sign}" in text or _DIGITS.search(text)
        bare = bare.replace(sign, "" if joins else " ")
    bare = re.sub(r"\.(?!\d)", "", bare, count=MAX_POINTS)
    found = _ALONE.search(bare.lower())
    return found[0].upper() if found else bare.strip("'").strip().upper()


def in_tags(response: str) -> str:
    """LongVideo-Reason: all that stands in the first answer tag, or all there is."""
    found = re.search(r"<answer>(.*?)</answer>", response)
    return (found[1] if found else response).strip()


def letters_of(options: Sequence[str]) -> str:
    """The letters that so many options have."""
    return ascii_uppercase[: len(options)]
