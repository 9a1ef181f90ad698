# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import dataclass

import numpy as np
import pytest

from tests.rows import record
from verl.data.files import Row
from verl.data.offline import OfflineReader
from verl.data.records import RowError, RowFormat, to_record
from verl.errors import DataError

END, PAD = 3, 2


@dataclass
class Letters:
    """A token per character; "$" ends a turn, "#" a text."""

    eos_ids: tuple = (PAD, END)
    end_id: int = END

    def encode(self, text):
        return np.array([{"$": END, "#": PAD}.get(letter, ord(letter)) for letter in text], dtype=np.int32)

    def decode(self, ids, skip_special_tokens=True):
        return "".join(chr(token) for token in ids if token not in self.eos_ids or not skip_special_tokens)


def reader(**changes):
    return OfflineReader(**({"model": Letters(), "max_tokens": 8} | changes))


def row(*texts, logprobs=()):
    return record(offline_responses=texts, offline_logprobs=logprobs)


def ids(response):
    return response.ids.tolist()


@pytest.mark.parametrize(("text", "end"), [("abc", [END]), ("abc$", [END]), ("abc#", [PAD])])
def test_a_response_ends_once_with_the_models_own_end_or_the_one_it_has(text, end):
    (response,) = reader().read(row(text))
    assert ids(response) == [*map(ord, "abc"), *end] and response.ids.dtype == np.int32
    assert response.text == "abc" and not response.truncated


def test_probabilities_of_an_unknown_author_are_taken_for_one():
    (response,) = reader().read(row("abc"))
    assert response.logprobs.tolist() == [0.0] * 4 and response.logprobs.dtype == np.float32


def test_the_authors_probabilities_stay_with_their_tokens():
    first, second = reader().read(row("ab", "c", logprobs=((-1.0, -2.0, -0.5), (-3.0, -0.25))))
    assert first.logprobs.tolist() == [-1.0, -2.0, -0.5] and second.logprobs.tolist() == [-3.0, -0.25]


def test_a_response_may_be_as_long_as_allowed_its_end_included():
    assert [len(one.ids) for one in reader(max_tokens=4).read(row("abc"))] == [4]


def test_a_longer_one_is_left_out_and_counted():
    mixed = row("abcd", "a")
    assert [one.text for one in reader(max_tokens=4).read(mixed)] == ["a"]
    assert reader(max_tokens=4).num_overlong(mixed) == 1


def test_a_longer_one_is_cut_if_asked():
    (response,) = reader(max_tokens=3, truncate=True).read(row("abcd", logprobs=((-1.0, -2.0, -3.0, -4.0, -5.0),)))
    assert ids(response) == [*map(ord, "abc")] and response.truncated and response.text == "abc"
    assert response.logprobs.tolist() == [-1.0, -2.0, -3.0]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (row("fine", "a$b"), "offline response 1 goes on after an end-of-sequence token"),
        (row("ab$$"), "goes on after"),
        (row("ab", logprobs=((-1.0, -2.0),)), "has 3 tokens, its end included, and 2 offline_logprobs"),
    ],
)
def test_a_broken_response_is_told_and_never_read(bad, problem):
    (told,) = reader().problems(bad)
    assert problem in told
    with pytest.raises(DataError, match=r"rows.jsonl:1: offline response"):
        reader().read(bad)


def fields(**changes):
    return Row(where="r:1", fields={"problem": "?", "answer": "A", "offline_output": ["x", "y"]} | changes)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, ()),
        ({"offline_logprobs": None}, ()),
        ({"offline_logprobs": [[-1, -0.5], [0]]}, ((-1.0, -0.5), (0.0,))),
        ({"offline_output": "x", "offline_logprobs": [-1.5]}, ((-1.5,),)),
        ({"offline_logprobs": [[-1], [-1]], "has_offline_trajectory": False}, ()),
    ],
)
def test_log_probabilities_are_read(given, read):
    assert to_record(fields(**given), RowFormat()).offline_logprobs == read


@pytest.mark.parametrize(
    "wrong",
    [[[-1.0]], [[-1.0], [0.5]], [[-1.0], [math.nan]], [[-1.0], -1.0], ["x", "y"], "x", [[-1.0], [True]], {"a": 1}],
)
def test_wrong_log_probabilities_are_problems_of_their_row(wrong):
    with pytest.raises(RowError, match=r"r:1: column 'offline_logprobs'"):
        to_record(fields(offline_logprobs=wrong), RowFormat())
