# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from verl.scoring import overlap
from verl.scoring.overlap import rouge, word_accuracy, words

SCORER = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
english = st.lists(
    st.sampled_from(
        [
            "the",
            "men",
            "were",
            "walking",
            "quickly",
            "dogs'",
            "dog,",
            "Generously!",
            "skies",
            "dying",
            "x2",
            "(news)",
            "a_b",
        ]
    ),
    min_size=2,
    max_size=12,
).map(" ".join)


@settings(deadline=None)
@given(english, english)
def test_rouge_equals_the_package_on_english(candidate: str, reference: str) -> None:
    if len(words(reference)) > 1:
        scores = SCORER.score(reference, candidate)
        assert rouge(candidate, reference) == pytest.approx(sum(score.fmeasure for score in scores.values()) / 3)


def test_one_word_is_not_measured_in_pairs() -> None:
    assert rouge("ifs", "if") == 0.0  # three letters are not stemmed, as in the package
    assert rouge("horses", "horse") == 1.0
    assert rouge("a brown horse", "horse") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("He's 2-0 up!", ["he", "s", "2", "0", "up"]),
        ("\u4ed6\u5728 playing", ["\u4ed6", "\u5728", "playing"]),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092d\u093e\u0937\u093e"],
        ),
        ("\u0e44\u0e17\u0e22", ["\u0e44", "\u0e17", "\u0e22"]),
        ("Stra\u00dfe", ["strasse"]),
        ("?!", ["?", "!"]),
        ("", []),
    ],
)
def test_words_of_every_script(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_padding_past_the_words_that_are_matched_still_costs() -> None:
    reference = "a man walks his dog"
    scores = [rouge(f"{reference} " + "so it is and so on " * count, reference) for count in (0, 10, 300, 3_000)]
    assert scores == sorted(scores, reverse=True)
    assert scores[3] < 0.2 * scores[2]


@pytest.mark.parametrize(
    ("candidate", "reference", "accuracy"),
    [
        ("no parking", "NO  PARKING", 1.0),
        ("NO PARKING TODAY", "NO PARKING", 0.5),
        ("Hello, world", "Hello world", 0.5),
        ("\u7981\u6b62\u884c\u8f66", "\u7981\u6b62\u505c\u8f66", 0.75),
        ("\u51fa \u53e3", "\u51fa\u53e3", 1.0),
        ("S T O P", "STOP", 0.0),
        ("x " * 2_000, "x", 0.0),
        ("x", " ", 0.0),
    ],
)
def test_word_accuracy(candidate: str, reference: str, accuracy: float) -> None:
    assert word_accuracy(candidate, reference) == pytest.approx(accuracy)


def test_a_long_answer_is_read_once_for_all_its_references(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    normalize = overlap.normalize
    monkeypatch.setattr(overlap, "normalize", lambda text: read.append(text) or normalize(text))
    candidate = "one dog after another " * 4_000
    for measure in (rouge, word_accuracy):
        read.clear()
        for number in range(3):
            measure(candidate, f"{number} dogs " * 2_000)
        assert len([text for text in read if text.startswith("one dog")]) == 1
