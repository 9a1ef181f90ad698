# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Yes or no, in a closed vocabulary."""

from __future__ import annotations

import re

from verl.scoring.text import normalize, unwrap

MAX_CHARS = 2_000

_WORDS = {"yes": True, "true": True, "no": False, "false": False}
# Yes and no elsewhere. Chinese: is, right, correct, has; is not, not right, no, wrong, has not.
_FOREIGN_YES = (
    "\u662f \u662f\u7684 \u5bf9 \u5bf9\u7684 \u6b63\u786e \u6709 \u306f\u3044 \ub124 \uc608 "
    "oui s\u00ed ja sim \u0434\u0430 \u0646\u0639\u0645 \u0939\u093e\u0901"
)
_FOREIGN_NO = (
    "\u4e0d\u662f \u4e0d\u662f\u7684 \u4e0d\u5bf9 \u5426 \u9519 \u9519\u8bef \u6ca1\u6709 \u3044\u3044\u3048 "
    "\uc544\ub2c8\uc694 \uc544\ub2c8\uc624 non nein n\u00e3o \u043d\u0435\u0442 \u0644\u0627 \u0928\u0939\u0940\u0902"
)
_ALONE = {**_WORDS, "y": True, "n": False, "1": True, "0": False}
_ALONE |= dict.fromkeys(_FOREIGN_YES.split(), True) | dict.fromkeys(_FOREIGN_NO.split(), False)
_PREFIX = re.compile(
    r"(?:the )?(?:final |correct )?answer(?: is ?:?| ?:) ?|\u7b54\u6848(?:[\u662f\u4e3a] ?:?|:) ?(?=.)"
)
_EMPHASIS = str.maketrans("", "", "*`")
_LEADING = re.compile(r"(?:yes|no|true|false)(?: ?[.,;:!(]| -| because\b)")
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
    text = normalize(f"{first_line}. {rest}" if rest else first_line).translate(_EMPHASIS).casefold()
    text = unwrap(_PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text)
    if (alone := text.rstrip(".!\u3002 ")) in _ALONE:
        return _ALONE[alone]
    if not _LEADING.match(text):
        return None
    said = {_WORDS[word] for word in _POLAR.findall(text)}
    return said.pop() if len(said) == 1 else None
