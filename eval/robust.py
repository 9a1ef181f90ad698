# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which option a free response picks. Rewards stay strict; here nothing is trained, so prose may be read too.

The truth is never looked at, nothing is guessed, and what picks several options picks none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from verl.scoring.answers import Carrier, read_answer
from verl.scoring.choices import Options
from verl.scoring.text import loose, normalize

TAIL_CHARS = 600  # of a long response, where its conclusion is looked for
MENTION_CHARS = 300  # longest sentence in which the text of an option is looked for

_HOMOGLYPHS = str.maketrans(
    "\u0410\u0412\u0415\u041d\u0406\u0408\u0421\u041c\u0391\u0392\u0395\u0396\u0397\u0399\u039c\u039d",
    "ABEHIJCMABEZHIMN",
)
_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_CUE = re.compile(
    r"\b(?i:answer|option|choice|choose|pick|select|with|think|believe|guess|say|is|be|it's|that's|so|thus|hence"
    r"|therefore|but|likely|leaves|leaving)\b[\s:,*\"'(\[]{1,4}([A-Z])\b(?![\w'-])"
    # Chinese: answer or option (is), choose
    "|(?:\u7b54\u6848|\u9009\u9879|\u9009)[\u662f\u4e3a:\uff1a]?\\s?([A-Z])(?![A-Za-z])"
)
_PRAISED = re.compile(r"(?<![\w'])\(?([A-Z])(?:[.):][^.;\n]{0,80})?\s+is\s+(?:the\s+)?(?:correct|right|best)\b")
_STATED = re.compile(
    r"^\W{0,4}(?:(?:so|thus|therefore|hence)\W{1,2})?(?:the |my )?(?:correct |best |final |right )*"
    r"(?:answer|option|choice)(?: is)?\W{0,4}[:=]\W{0,4}(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_PRONOUN = re.compile(r"\s+(?:think|believe|guess|would|will|am|can|cannot|could|do|don't|have|see|choose|pick)\b")
_HEDGED = re.compile(r"\)?\s*(?:or|and|/|,|&)\s*(?:option\s+)?\(?[A-Z]\b(?!\w)", re.IGNORECASE)
_DENIED = re.compile(r"\)?\s*(?:is|was|are)?\s*(?:not|n't|never|incorrect|wrong|false|ruled out)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;,]|\bbut\b")
_NEGATION = re.compile(r"\b(?:not|never|neither|nor|no|cannot|except|incorrect|wrong)\b|n't\b", re.IGNORECASE)


def pick_letter(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that `response` ends up with; None when it picks none or several. Linear time."""
    answer = read_answer(response, bare_chars=TAIL_CHARS)
    known = Options.of(options)
    text = answer.text or _conclusion(response)
    if answer.carrier in (Carrier.TAG, Carrier.OPEN_TAG, Carrier.BOXED) and not answer.text:
        return None
    readings: tuple[Callable[[str, Options], str | None], ...] = (
        lambda text, known: known.pick(text),
        _json,
        _stated,
        _last_line,
        _cued,
        _after_colon,
        _mentioned,
    )
    for candidate in dict.fromkeys((text, normalize(text).translate(_HOMOGLYPHS))):
        for read in readings:
            if letter := read(candidate, known):
                return letter
    return None


def _conclusion(response: str) -> str:
    """The end of a long response without tags, after its reasoning; empty while it is still thinking."""
    thought, closed, rest = response.rpartition("</think>")
    if not closed and "<think>" in thought + rest:
        return ""
    return rest[-TAIL_CHARS:].strip()


def _json(text: str, known: Options) -> str | None:
    found = re.fullmatch(r"(?:```(?:json)?\s*)?(\{[^{}]*\})(?:\s*```)?", text.strip())
    if found is None:
        return None
    try:
        row = json.loads(found[1])
    except ValueError:
        return None
    answers = [value for key, value in row.items() if key.casefold() in ("answer", "option", "choice", "final_answer")]
    return known.pick(str(answers[0])) if len(answers) == 1 else None


def _last_line(text: str, known: Options) -> str | None:
    lines = text.strip().splitlines()
    return known.pick(lines[-1]) if len(lines) > 1 else None


def _stated(text: str, known: Options) -> str | None:
    """The last line of the form "Answer: ..."."""
    lines = _STATED.findall(text)
    return known.pick(lines[-1]) if lines else None


def _cued(text: str, known: Options) -> str | None:
    """The last letter that words such as "the answer is" lead to, or that is called correct."""
    cues = [*_CUE.finditer(text), *_PRAISED.finditer(text)]
    for cue in sorted(cues, key=lambda cue: cue.end(), reverse=True):
        letter = cue[cue.lastindex or 1]
        at = cue.start(cue.lastindex or 1)
        before, after = text[max(cue.start() - 24, 0) : at], text[at + 1 :]
        if letter not in known.texts or _PRONOUN.match(after) or _DENIED.match(after):
            continue
        if _HEDGED.match(after):
            return None
        if not _NEGATION.search(_CLAUSE.split(before)[-1]):
            return letter
    return None


def _after_colon(text: str, known: Options) -> str | None:
    _, colon, tail = text.rpartition(":")
    return known.pick(tail) if colon else None


def _mentioned(text: str, known: Options) -> str | None:
    """The one option whose text stands in the last sentence, word for word."""
    sentences = [part for part in _SENTENCE.split(text.strip()) if part.strip()]
    if not sentences or len(sentences[-1]) > MENTION_CHARS or _NEGATION.search(sentences[-1]):
        return None
    words = f" {loose(sentences[-1])} "
    spelled = {letter: f" {loose(option)} " for letter, option in known.texts.items() if loose(option)}
    found = {letter: option for letter, option in spelled.items() if option in words}
    longest = [x for x, option in found.items() if not any(option in other for y, other in found.items() if y != x)]
    return longest[0] if len(longest) == 1 else None
