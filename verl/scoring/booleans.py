# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Yes or no, in a closed vocabulary."""

from __future__ import annotations

import re

from verl.scoring.text import normalize, unwrap

MAX_CHARS = 2_000

_WORDS = {"yes": True, "true": True, "no": False, "false": False}
# Chinese: is, right, correct; is not, no, wrong, wrong
_CHINESE = {
    "\u662f": True,
    "\u5bf9": True,
    "\u6b63\u786e": True,
    "\u4e0d\u662f": False,
    "\u5426": False,
    "\u9519": False,
    "\u9519\u8bef": False,
}
_ALONE = {**_WORDS, **_CHINESE, "y": True, "n": False, "1": True, "0": False}
_PREFIX = re.compile(r"(?:the )?(?:final |correct )?answer(?: is|:| is:) ?")
_LEADING = re.compile(r"(?:yes|no|true|false)(?: ?[.,;:!(]| -)")
_POLAR = re.compile(r"\b(?:yes|no|true|false)\b")


def read_boolean(source: object) -> bool | None:
    """The truth value of a JSON value or text, or None.

    Text is one word of the vocabulary, or a leading one and an explanation that nowhere says the opposite.
    """
    if isinstance(source, bool):
        return source
    if isinstance(source, int | float) and source in (0, 1):
        return bool(source)
    if not isinstance(source, str) or len(source) > MAX_CHARS:
        return None
    first_line, _, rest = unwrap(source).partition("\n")
    text = normalize(f"{first_line}. {rest}" if rest else first_line).casefold()
    text = unwrap(_PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text)
    if text in _ALONE:
        return _ALONE[text]
    if not _LEADING.match(text):
        return None
    said = {_WORDS[word] for word in _POLAR.findall(text)}
    return said.pop() if len(said) == 1 else None
