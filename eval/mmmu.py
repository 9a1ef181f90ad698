# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How the scripts of MMMU read letters and free answers, with their faults, but without the guess at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

_CUES = (
    "could be ",
    "so ",
    "is ",
    "thus ",
    "therefore ",
    "final ",
    "answer ",
    "result ",
    "are ",
    "in total ",
    "total ",
    "identify ",
    "recognize ",
    "calculated as ",
    "counted as ",
    "measured as ",
    "observed as ",
    "concluded as ",
    "found to be ",
    "equals ",
    "determined to be ",
    "number of ",
    "value is ",
    "adds up to ",
    "have ",
    "has ",
)
_SIGNS = ",.!?;:'"
_NOTHING = frozenset(":,.!?;'")
_SENTENCE = re.compile(r"\.\s(?=[A-Z])|\n")
# Numbers are only looked for where their digits begin, which finds the same in linear time.
_GROUPED = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
_SCIENTIFIC = re.compile(r"(?:-|(?<!\d))\d+(?:\.\d+)?[eE][+-]?\d+")
_PLAIN = re.compile(r"-?(?:(?<!\d)\d+\.\d+|\.\d+|(?<!\d)\d+\b)(?![eE][+-]?\d+)(?![,\d])")
_FAILED = ("", "API Error")  # what stands for no response
MAX_CHARS = 100_000


def said_letter(response: str, options: Sequence[str]) -> str | None:
    """The letter of an option that comes last in the surest form found: "C." or "C:", "(C)", "C ", the option's text.

    Which place is compared follows the form that was found first, so a letter that has another form may lose to one
    without a place. Text counts only in a response of more than five words.
    """
    text = response
    for sign in _SIGNS:
        text = text.strip(sign)
    text = f" {text} " if response not in _FAILED else ""
    letters = ascii_uppercase[: len(options)]
    dotted, colons = ([letter for letter in letters if letter + sign in text] for sign in ".:")
    found, form = dotted + colons, "{}." if dotted else "{}:"
    if not found:
        found, form = [letter for letter in letters if f"({letter})" in text], "({})"
    if not found:
        found, form = [letter for letter in letters if f"{letter} " in text], " {} "
    if found:
        return max(found, key=lambda letter: text.rfind(form.format(letter)))
    lower = text.lower()
    named = dict(zip(letters, (option.lower() for option in options), strict=True))
    meant = [letter for letter, option in named.items() if option in lower] if len(text.split()) > 5 else []
    return max(meant, key=lambda letter: lower.rfind(named[letter])) if meant else None


def said_values(response: str) -> set[str | float]:
    """Everything an open response may have for an answer: the tails of its sentences, and the numbers in them."""
    if response in _FAILED or len(response) > MAX_CHARS:
        return set()
    tails = _tails(response.strip().strip(".").lower())
    numbers = [
        number for tail in tails for pattern in (_GROUPED, _SCIENTIFIC, _PLAIN) for number in pattern.findall(tail)
    ]
    return {value for text in [*tails, *numbers] for value in _values(text)}


def same_value(said: set[str | float], truth: str) -> bool:
    """Whether a number that was said is the true one to two decimals, or a text that was said holds the true text."""
    wanted = _values(truth)
    texts = [value for value in wanted if isinstance(value, str)]
    return any(any(text in value for text in texts) if isinstance(value, str) else value in wanted for value in said)


def _tails(text: str) -> list[str]:
    """What follows the last cue in each sentence, where a cue leaves least; all of the text where no cue stands."""
    sentences, found = _SENTENCE.split(text), []
    for number, sentence in enumerate(sentences):
        cues = (*_CUES, "=") if number == len(sentences) - 1 else _CUES
        tails = [sentence.rpartition(cue)[2].strip() for cue in cues if cue in sentence]
        shortest = _shortest(tails)
        if shortest and shortest not in _NOTHING:
            found.append(shortest)
    return found or [text]


def _shortest(tails: Sequence[str]) -> str:
    """The first of the shortest; a tail without a character is passed over by what comes after it."""
    best = ""
    for tail in tails:
        if not best or len(tail) < len(best):
            best = tail
    return best


def _values(text: str) -> list[str | float]:
    """A number to two decimals, else the text in lower case; one letter with a space before or after it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
        return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]
