# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from eval.benchmark import BENCHMARKS
from eval.simulators import reached, read_commands, read_directions, read_swaps
from tests.unit.eval.annotated import ROWS, items_of


def test_operations_are_simulated_from_the_state_that_the_question_means(tmp_path):
    lead = "The video presents a 2x2 grid. to achieve the desired arrangement of black and white pieces: "
    row = {
        "video": "videos/grid/state2_op5_end.mp4",
        "question": lead + "`(a,0): black, (a,1): white, (b,0): black, (b,1): black`? 'Final Answer:'",
        "answer": None,
        "dim": "prediction_operation",
        "visible_time": "end",
        "num_state": "3",
        "num_operation": "5",
        "coords": [[0, 0], [1, 1]],
        "states": [[[0, 1], [1, 0]], [[1, 1], [1, 1]]],
    }
    other = row | {"dim": "order_state", "answer": "left", "question": "What? 'Final Answer:'"}
    operation, state = items_of("videoreasonbench", tmp_path, {"q1": row, "q2": other}, "grid.json")
    assert (operation.id, state.id, operation.video) == ("grid/q1", "grid/q2", "grid/state2_op5_end.mp4")
    assert operation.fields["start"] == {"state": [[0, 1], [1, 0]], "coord": [0, 0]}
    assert state.labels["dimension"] == ("infer_state",) and state.labels["operations"] == ("5-9",)
    benchmark = BENCHMARKS["videoreasonbench"]
    answers = ("Final Answer: right", "Final Answer: down", "Final Answer: none", "right", "Final Answer: up, right")
    assert [benchmark.official(operation, text).score for text in answers] == [1, 0, 0, 0, 1]
    said = ("Final Answer: Left.", "Final Answer: it goes left", "Left")
    assert [benchmark.official(state, text).score for text in said] == [1, None, 0]
    assert benchmark.judge_case(state, "Final Answer: it goes left").response == ": it goes left"
    converted = items_of("videoreasonbench", tmp_path, ROWS["videoreasonbench"])
    missing = [item for item in converted if "not gradable" in item.labels]
    assert len(missing) == 3 and all(item.answer is None for item in missing)
    assert all(benchmark.official(item, "Final Answer: left").score == 0 for item in missing)


PILE = (
    "to ensure that `pile0` contains exactly the following cards from top to bottom: "
    "`6 of Spades, Ace of Diamonds, King of Diamonds`, what"
)
CUP = "to ensure that `cup0` contains exactly the following chips: `5, 10` (order does not matter), what"
FOLDER = "to ensure that `path1` contains exactly the following files: `a.py, b.py`, what"
COINS = "a puzzle on a 2x2 board ... to achieve the desired distribution of coins: `a2, b1`"


@pytest.mark.parametrize(
    ("demo", "question", "state", "answer", "wanted"),
    [
        ("card", PILE, {"pile0": ["7 of Hearts", "King of Diamonds"]}, "remove 7 of Hearts from pile0", (False, False)),
        (
            "card",
            PILE,
            {"pile0": ["7 of Hearts", "King of Diamonds"]},
            "`remove 7 of Hearts from pile0, add Ace of Diamonds to pile0, add 6 of Spades to the top of pile0`",
            (False, True),
        ),
        ("card", PILE, {"pile0": ["King of Diamonds"]}, "remove 6 of Spades from pile0", (False, False)),
        ("card", PILE, {"pile0": ["King of Diamonds"]}, "add 11 of Spades to pile0", (False, False)),
        ("chip", CUP, {"cup0": [5, 20]}, "remove 20 cup0, add 10 to cup0", (True, True)),
        ("chip", CUP, {"cup0": [10, 20]}, "remove 20 from cup0, add 5 to cup0", (False, True)),
        ("chip", CUP, {"cup0": [5]}, "add 10 to cup1", (False, False)),
        ("chip", CUP, {"cup0": [5]}, "remove 50 from cup0", (False, False)),
        ("file_sys", FOLDER, {"path1": ["a.py", "c"]}, "`touch path1/{b.py} & rm -rf path1/{c}`", (True, True)),
        ("file_sys", FOLDER, {"path1": ["a.py", "c"]}, "```bash\nrm -rf path1/{c}\n```", (False, False)),
        ("file_sys", FOLDER, {"path1": ["a.py"]}, "touch path1/b.py", (False, False)),
        ("file_sys", FOLDER, {"path1": ["a.py"], "path0": ["b.py"]}, "cp path0/{b.py} path1", (False, False)),
        ("file_sys", FOLDER, {"path1": ["b.py"]}, "touch path1/{a.py} & rm -rf path1/{a.py}", (False, False)),
        ("file_sys", FOLDER, {"path1": ["a.py"]}, "touch path7/{b.py}", (False, False)),
        ("cup", COINS, [[1, 1], [0, 0]], "(a1, b1)", (True, True)),
        ("cup", COINS, [[1, 1], [0, 0]], "(a1, b1), (a2", (False, False)),
        ("cup", COINS, [[1, 1], [0, 0]], "", (False, False)),
    ],
)
def test_simulated_answers(demo, question, state, answer, wanted):
    found = reached(demo, question, {"state": state}, answer)
    assert (found.published, found.asked) == wanted


def test_operations_are_read_from_whatever_stands_around_them():
    assert read_directions("1. Left\n2. **upward**, then 'down'") == ["left", "up", "down"]
    assert read_swaps("[('a1', 'b2'), (c3, a1)] and (a,1) <-> (b,2)") == [("a1", "b2"), ("c3", "a1"), ("a1", "b2")]
    assert read_commands("`touch path0/{a,b} & rm -rf path0/{c}`.") == ["touch path0/{a,b}", "rm -rf path0/{c}"]
    with pytest.raises(ValueError, match="no state to reach"):
        reached("chip", "What?", {"state": {"cup0": [5]}}, "add 5 to cup0")
