# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How official scripts read an answer, with their faults: only then are figures comparable with published ones.

Every function takes the text of a response, and most return a letter, or an empty string where the script finds none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

# What scripts take away first. The list of Video-MME lacks two commas, so that two pairs in it are never found.
VIDEO_MATH_LEADS = ("The best answer is", "The correct answer is", "The answer is", "The answer")
VIDEO_MME_LEADS = (*VIDEO_MATH_LEADS, "Final Answer", "Answer:")
VIDEO_MME_V2_LEADS = (*VIDEO_MME_LEADS, "The best option is", "The correct option is", "Best answer:", "Best option:")


def first_capital(response: str, letters: str, leads: Sequence[str]) -> str:
    """Video-MME, Video-MME-v2, VideoMathQA: the first capital in range, wherever it stands."""
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
    """LVBench and MotionBench: the first character of the first word, after an opening bracket."""
    text = response.split(")")[0].split("(")[-1].split()
    return text[0][0] if text else ""


def tagged_letter(response: str, letters: str = "ABCDEF") -> str:
    """Video-Holmes: in the last answer tag, else everywhere, the first letter that is set off, else any that occurs."""
    blocks = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
    text = blocks[-1] if blocks else response
    for letter in letters:
        if any(mark in text for mark in (f"{letter} ", f"{letter}:", f"[{letter}")):
            return letter
    return next((letter for letter in letters if letter in text), "")


def first_word(response: str) -> str:
    """VSI-Bench: the first word, without full stops."""
    return response.split(" ")[0].rstrip(".").strip()


def same_first_word(response: str, answer: str) -> bool:
    """MVBench: the first words contain one another; `answer` is "(a) text". No words at all are contained in any."""
    words = response.lower().split(" ")
    given = words[0].replace(".", "") if words else ""
    wanted = answer.lower().split(" ")[0]
    return given in wanted or wanted in given


def letters_of(options: Sequence[str]) -> str:
    """The letters that so many options have."""
    return ascii_uppercase[: len(options)]
