# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which of two responses is better, or a tie: one grammar over the whole answer, no searching for words in it."""

from __future__ import annotations

import re
from enum import Enum

from verl.scoring.text import normalize, unwrap

MAX_CHARS = 300


class Preference(Enum):
    """The better response."""

    FIRST = "response 1"
    SECOND = "response 2"
    TIE = "tie"


_NOUN = r"(?:response|answer|assistant|model|output|option|candidate)"
_NUMBER = r"(?:1|2|a|b|one|two)"
_LABEL = rf"(?:the )?(?:{_NOUN}[ -]?(?:#|number )?\(?{_NUMBER}\)?|(?:first|second)(?: (?:one|{_NOUN}))?)"
_HOW = r"(?:(?:clearly|much|slightly|significantly|far|overall|definitely|obviously) )*"
_BEST = rf"{_HOW}(?:the )?{_HOW}(?:better|best|preferred|superior|stronger|winner)(?: (?:one|{_NOUN}))?(?: overall)?"
_OTHER = rf"(?P<other>{_LABEL}|the other(?: (?:one|{_NOUN}))?)"
_VERDICT = re.compile(
    rf"(?:i (?:would )?(?:prefer|choose|pick) )?(?P<label>{_LABEL}|\[*{_NUMBER}\]*)"
    rf"(?:,? (?:is|was) {_BEST}(?: (?:than|to|over|compared to) {_OTHER})?| wins)?"
)
_PREFIX = re.compile(
    rf"(?:(?:the|my) )?(?:final )?(?:answer|verdict|choice|preference|(?:better|best|preferred) {_NOUN})"
    r"(?: is| ?:| is:) ?"
)
_BOTH = rf"(?:(?:both|the two|two)(?: {_NOUN}s)?|they|{_LABEL} and {_LABEL})"
_TIE = re.compile(
    r"(?:it'?s |it is )?(?:a |an )?(?:tie|draw)|tied|\[*c\]*|equal(?:ly (?:good|bad))?|(?:the )?same"
    r"|no (?:clear )?(?:difference|preference)"
    rf"|{_BOTH} (?:are|is) (?:(?:about|roughly) )?(?:equal(?:ly (?:good|bad|correct|wrong))?|the same|tied)"
    rf"|neither(?: {_NOUN}| one)? is better"
)
_EMPHASIS = str.maketrans("_", " ", "*`")
_SECOND = re.compile(rf"\b(?:second|2|b|two)\b|{_NOUN}(?:2|b)\b")


def read_preference(source: object) -> Preference | None:
    """The preference a JSON value or text states, or None; text outside the grammar states none."""
    if isinstance(source, int) and not isinstance(source, bool):
        source = str(source)
    if not isinstance(source, str) or len(source) > MAX_CHARS:
        return None
    text = normalize(unwrap(source)).translate(_EMPHASIS).casefold().rstrip(".! ")
    text = unwrap(_PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text)
    if _TIE.fullmatch(text):
        return Preference.TIE
    found = _VERDICT.fullmatch(text)
    if found is None:
        return None
    side = _side(found["label"])
    is_itself = found["other"] is not None and "other" not in found["other"] and _side(found["other"]) is side
    return None if is_itself else side


def _side(label: str) -> Preference:
    return Preference.SECOND if _SECOND.search(label) else Preference.FIRST
