# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Options that are judged one by one: a list, a table or questions with verdicts."""

from __future__ import annotations

import re

from eval.mentions import named
from verl.scoring.choices import Options

ENTRY = re.compile(r"\W{0,4}(?:option )?\(?([A-Z])(?:\)|\.|:|\s-|\s\(|\s?\|)(.*)")  # of a list of options
_SIGNED = re.compile(  # "Is it red? No.", "red \u2717, "
    "([^\n,;.?!|\u2713\u2714\u2705\u2717\u2718\u274c\u2716]{1,80})"
    "(?:\\?\\s{0,2}(?:(yes)|no)\\b|[:(\\s-]{0,3}(?:([\u2713\u2714\u2705])|[\u2717\u2718\u274c\u2716]))",
    re.IGNORECASE,
)
_BEFORE_ENTRY = re.compile(r"\s(?=\([A-Z]\)\s)")
_RIGHT = re.compile("\\b(?:correct|right|true|yes|matches|fits)\\b|[\u2713\u2714\u2705]", re.IGNORECASE)
_WRONG = re.compile(
    "\\b(?:incorrect|wrong|false|no|not|never|unlikely|impossible|too|out)\\b|n't\\b|[\u2717\u2718\u274c\u2716]",
    re.IGNORECASE,
)


def judged(text: str, known: Options) -> str | None:
    """Where each line judges an option: the one that is called right, if all others are called wrong."""
    lines = [part for line in text.splitlines() for part in _BEFORE_ENTRY.split(line)]
    entries = [found for line in lines if (found := ENTRY.match(line)) and found[1] in known.texts]
    wrong = [found[1] for found in entries if _WRONG.search(found[2])]
    right = [found[1] for found in entries if found[1] not in wrong and _RIGHT.search(found[2])]
    is_whole = len(entries) == len(wrong) + len(right) == len({found[1] for found in entries})
    return right[0] if is_whole and len(right) == 1 and wrong else None


def signed(text: str, known: Options) -> str | None:
    """Where each option's text has a tick, a cross, a yes or a no: the one that is right, if all others are not."""
    verdicts = [(named(found[1], known), bool(found[2] or found[3])) for found in _SIGNED.finditer(text)]
    right = [letter for letter, is_right in verdicts if letter and is_right]
    is_whole = sorted(letter for letter, _ in verdicts if letter) == sorted(known.texts)
    return right[0] if is_whole and len(right) == 1 else None
