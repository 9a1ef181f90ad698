# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How many words two texts share: ROUGE for free text and word errors for transcripts, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from nltk.stem.porter import PorterStemmer
from rapidfuzz.distance import LCSseq, Levenshtein

from verl.scoring.answers import unwrap_truth
from verl.scoring.text import normalize

MAX_MATCHED_WORDS, MAX_MATCHED_CHARS = 1_024, 8_192
STEMMED_CHARS = range(4, 65)

# Scripts written without spaces: Thai to Myanmar and Khmer, kana, Han and its extensions.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# Accents and the vowel signs of Hebrew, Arabic and the scripts of India belong to their word; \w leaves them out.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_TOKEN = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_MARKS}])+")

_STEMMER = PorterStemmer()


def read_references(answer: Any) -> tuple[str, ...] | None:
    """One text or number, or a list of them, as texts with something in them; None for anything else."""
    items = answer if isinstance(answer, list) else [answer]
    is_text = all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items)
    texts = tuple(str(unwrap_truth(item)) for item in items) if is_text else ()
    return texts if texts and all(normalize(text) for text in texts) else None


def words(text: str) -> list[str]:
    """Lower-case words; in scripts without spaces every character is one. Text without any word gives its symbols."""
    text = normalize(text).casefold()
    return _TOKEN.findall(text) or [symbol for symbol in text if not symbol.isspace()]


def rouge(candidate: str, reference: str) -> float:
    """Mean of ROUGE-1, ROUGE-2 and ROUGE-L F1 with English stems; without ROUGE-2 for a reference of one word.

    Equals the package rouge_score on English. What the candidate has past 1,024 words or 8,192 characters counts as
    words that match nothing.
    """
    (ours, total), theirs = _candidate(candidate), _reference(reference)
    if not ours or not theirs:
        return 0.0
    scores = [_f1(_shared(ours, theirs), total, len(theirs))]
    if len(theirs) > 1:
        pairs = (list(pairwise(side)) for side in (ours, theirs))
        scores.append(_f1(_shared(*pairs), total - 1, len(theirs) - 1))
    scores.append(_f1(LCSseq.similarity(ours, theirs), total, len(theirs)))
    return sum(scores) / len(scores)


def word_accuracy(candidate: str, reference: str) -> float:
    """1 - word error rate, at least 0; characters instead of words when the reference is in a script without spaces.

    Case and the amount of whitespace do not count, punctuation does. A reference without text gives 0, and so does a
    candidate more than twenty times as long.
    """
    if len(candidate) > 20 * len(reference) + 2_000:
        return 0.0
    ours, theirs = _folded(candidate), normalize(reference).casefold()
    is_unspaced = _HAS_UNSPACED.search(theirs) is not None
    left: Sequence[str] = ours.replace(" ", "") if is_unspaced else ours.split()
    right: Sequence[str] = theirs.replace(" ", "") if is_unspaced else theirs.split()
    if not right or len(left) > 2 * len(right) + 64:
        return 0.0
    return max(0.0, 1 - Levenshtein.distance(left, right) / len(right))


@lru_cache(maxsize=1)  # the same for all references
def _candidate(text: str) -> tuple[tuple[str, ...], int]:
    """The words that are matched, and the number of all."""
    matched = _matched_chars(text)
    ours = words(text[:matched])
    total = len(ours) + sum(1 for _ in _TOKEN.finditer(text, matched))
    return tuple(_stem(word) for word in ours[:MAX_MATCHED_WORDS]), total


@lru_cache(maxsize=1)
def _folded(text: str) -> str:
    return normalize(text).casefold()


def _matched_chars(text: str) -> int:
    """MAX_MATCHED_CHARS, or fewer of characters that NFKC writes out as many (one Arabic ligature is 18 letters)."""
    written_out = len(unicodedata.normalize("NFKC", text[:MAX_MATCHED_CHARS]))
    return MAX_MATCHED_CHARS**2 // max(written_out, MAX_MATCHED_CHARS)


def _shared(ours: Sequence[object], theirs: Sequence[object]) -> int:
    return sum((Counter(ours) & Counter(theirs)).values())


def _f1(shared: int, ours: int, theirs: int) -> float:
    return 2 * shared / (ours + theirs) if shared else 0.0


@lru_cache(maxsize=512)
def _reference(text: str) -> tuple[str, ...]:
    return tuple(_stem(word) for word in words(text))


@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    is_english = len(word) in STEMMED_CHARS and word.isascii()
    return _STEMMER.stem(word) if is_english else word
