# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from verl.scoring.preferences import Preference, read_preference

FIRST, SECOND, TIE = Preference.FIRST, Preference.SECOND, Preference.TIE


@pytest.mark.parametrize(
    ("text", "preference"),
    [
        ("Response 1", FIRST),
        ("RESPONSE 2.", SECOND),
        ("Answer B", SECOND),
        ("Assistant A is clearly better", FIRST),
        ("[[B]]", SECOND),
        ("[[C]]", TIE),
        ("2", SECOND),
        (2, SECOND),
        ("The second response is better than the first one", SECOND),
        ("Response 1 is the better response than the other", FIRST),
        ("The better response is Response 2", SECOND),
        ("**Tie**", TIE),
        ("It's a tie.", TIE),
        ("Both responses are equally good", TIE),
        ("Response 1 and Response 2 are the same", TIE),
        ("Neither is better", TIE),
        ("I prefer response 2", SECOND),
        ("**Response 2** is better.", SECOND),
        ("Response_2", SECOND),
        ("Response-1", FIRST),
        ("The same", TIE),
    ],
)
def test_labels_are_read(text: object, preference: Preference) -> None:
    assert read_preference(text) is preference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "entities",
        "not equal",
        "Response 1 or Response 2",
        "Response 3",
        "Response 12",
        "not Response 1",
        "Response 1 is worse",
        "Response 1 is not better than Response 2",
        "Response 1 is better than Response 1",
        "First, I looked at the video",
        "both",
        True,
        None,
        1.5,
        "Response 1 " * 100,
    ],
)
def test_anything_else_is_no_label(text: object) -> None:
    assert read_preference(text) is None
