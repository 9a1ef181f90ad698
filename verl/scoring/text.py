# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One spelling for one meaning: what may differ between two texts that say the same."""

from __future__ import annotations

import re
import unicodedata

_ARTICLES = frozenset(("a", "an", "the"))
_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b"
_SUPERSCRIPTS = str.maketrans(_RAISED, "0123456789+-")
_SUPERSCRIPT_RUN = re.compile(f"[{_RAISED}]+")
_MIXED_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_POINT_OUTSIDE_NUMBER = re.compile(r"(?<!\d)[.,:]|[.,:](?!\d)|[;!?()\"'`]")
_WORD_HYPHEN = re.compile(r"(?<=[^\W\d])-(?=[^\W\d])")
_WRAPPERS = (
    ("\\boxed{", "}"),
    ("\\text{", "}"),
    ("\\textbf{", "}"),
    ("\\mathrm{", "}"),
    ("\\mathbf{", "}"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("$$", "$$"),
    ("$", "$"),
    ("**", "**"),
    ("*", "*"),
    ("__", "__"),
    ("`", "`"),
    ("<", ">"),
    ('"', '"'),
    ("'", "'"),
    ("\u201c", "\u201d"),
    ("\u2018", "\u2019"),
    ("\u300c", "\u300d"),
    ("\u3010", "\u3011"),
)


def normalize(text: str) -> str:
    """NFKC, plain hyphens, no invisible characters, whitespace runs as one space.

    Superscripts become "^n" and mixed fractions keep a space: NFKC alone joins them to the digits before.
    """
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^" + run[0].translate(_SUPERSCRIPTS), text)
    text = unicodedata.normalize("NFKC", _MIXED_FRACTION.sub(" ", text))
    return " ".join(_INVISIBLE.sub("", text).translate(_DASHES).split())


def unwrap(text: str) -> str:
    r"""`text` without the markup around all of it: \boxed{}, \text{}, $, **, quotes, a final full stop."""
    for _ in range(8):
        bare = text.strip().rstrip(".,;!\u3002 ")
        for left, right in _WRAPPERS:
            if bare.startswith(left) and bare.endswith(right) and len(bare) > len(left) + len(right):
                text = bare[len(left) : -len(right)]
                break
        else:
            break
    return text.strip()


def loose(text: str) -> str:
    """What is left of a phrase when case, articles and punctuation outside numbers do not count."""
    text = _POINT_OUTSIDE_NUMBER.sub(" ", normalize(text).casefold())
    words = _WORD_HYPHEN.sub(" ", text).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)
