# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts for a segmenter against the mask of the object."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.rewards.questions import BESIDE, BOX, PROMPT, SQUARE, accuracy, record
from verl.errors import ConfigError
from verl.rewards.contract import RewardItem
from verl.rewards.router import Router, validate_answer
from verl.types import NotScorable, Record, Score

few = settings(max_examples=60, deadline=None)
POLYGON = [[100, 100, 200, 100, 200, 200, 100, 200]]


def image(truth: Any = None, **fields: Any) -> Record:
    return record("segmentation image", truth, **fields)


def worth(row: Record | None = None, router: Router | None = None, **changes: Any) -> float:
    """Accuracy of the right prompt for SQUARE with changes."""
    text = json.dumps({**BESIDE, **changes})
    return accuracy(text, row or image()) if router is None else accuracy(text, row or image(), router)


@pytest.mark.parametrize(
    "truth",
    [
        {"mask": SQUARE},
        SQUARE,
        {"segmentation": SQUARE, "boxes": BOX, "category_id": 3},
        json.dumps({"mask": SQUARE}),
        f"<answer>{json.dumps(SQUARE)}</answer>",
        {"mask": json.dumps(SQUARE)},
        POLYGON,
        json.dumps(POLYGON),
        {"mask": POLYGON},
    ],
)
def test_a_mask_is_read_wherever_it_stands(truth: Any) -> None:
    assert validate_answer(image(truth)) is None
    assert worth(image(truth)) == 1.0
    assert worth(image(truth), boxes=[0, 0, 9, 9]) == 0.5


def test_the_column_of_a_mask_comes_before_the_points_of_the_answer() -> None:
    assert worth(image(PROMPT)) < 1.0
    assert worth(image(PROMPT, mask=SQUARE)) == 1.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"boxes": [150, 100, 250, 200]}, 0.5 + 0.5 / 3),
        ({"boxes": [9, 9, 9, 9]}, 0.5),
        ({"positive_points": [[150, 150], [160, 150], [300, 300]]}, 0.75 + 0.25 * 2 / 3),
        ({"positive_points": [[99, 150], [150, 99], [201, 150]]}, 0.75),
        ({"positive_points": [[150, 150]] * 3}, 0.75 + 0.25 / 3),
        ({"positive_points": [[150, 150], [151, 150], [150, 151]]}, 0.75 + 0.25 / 3),
        ({"positive_points": [[100, 150], [109, 150], [118, 150]]}, 0.75 + 0.25 * 2 / 3),
        ({"negative_points": [[150, 150], [80, 80], [220, 80]]}, 0.75 + 0.25 * 2 / 3),
        ({"negative_points": [[0, 0], [400, 300], [-5, 100]]}, 0.75),
        ({"negative_points": [[80, 80]] * 3}, 0.75 + 0.25 / 3),
        ({"negative_points": [[75, 150], [225, 150], [150, 225]]}, 1.0),
        ({"negative_points": [[74, 150], [226, 150], [150, 226]]}, 0.75),
        ({"positive_points": BESIDE["negative_points"], "negative_points": BESIDE["positive_points"]}, 0.5),
    ],
)
def test_each_point_counts_where_it_stands_and_close_ones_once(changes: dict[str, Any], expected: float) -> None:
    assert worth(**changes) == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"positive_points": [[150, 150], [160, 150]]},
        {"positive_points": [[150, 150]] * 4},
        {"positive_points": [[float("nan"), 150]] * 3},
        {"negative_points": [[float("inf"), 150]] * 3},
        {"positive_points": [[True, 150]] * 3},
        {"boxes": [100, 100, 200]},
        {"boxes": [BOX, BOX]},
        {"negative_points": None},
    ],
)
def test_what_is_not_of_the_form_scores_nothing(changes: dict[str, Any]) -> None:
    assert worth(**changes) == 0.0


def test_the_moment_counts_in_a_video() -> None:
    row = replace(image({"mask": SQUARE, "time": 4.0}), data_type="video")
    assert worth(row, time=4.0) == 1.0
    assert worth(row, time=6.0) == pytest.approx(0.7 + 0.3 * math.exp(-1))
    assert worth(row, time=True) == worth(row, time=float("nan")) == worth(row) == 0.0
    assert "time" in (validate_answer(replace(row, answer={"mask": SQUARE})) or "")


def test_thousandths_are_a_setting_or_stand_beside_the_mask() -> None:
    point = {"boxes": [200, 250, 400, 500], "positive_points": [[220, 300], [380, 300], [300, 480]]}
    point["negative_points"] = [[170, 220], [430, 220], [430, 530]]
    assert worth(**point) < 0.3
    assert worth(image({"mask": SQUARE, "scale": 1000}), **point) == 1.0
    assert worth(router=Router(tasks={"segmentation": {"scale": 1000}}), **point) == 1.0
    wrong = validate_answer(image({"mask": SQUARE, "scale": 1000, "boxes": BOX}))
    assert wrong is not None and "scale" in wrong
    for scale in (0, -1, True, "1000", float("nan")):
        assert validate_answer(image({"mask": SQUARE, "scale": scale})) is not None
        with pytest.raises(ConfigError):
            Router(tasks={"segmentation": {"scale": scale}})


@pytest.mark.parametrize(
    "mask", [{"size": [4, 4], "counts": [16]}, {"size": [4, 4], "counts": "x"}, [[1, 2]], "a dog", 7]
)
def test_a_mask_that_is_none_masks_the_row(mask: Any) -> None:
    [verdict] = Router().score(
        [RewardItem(response="<answer>1</answer>", response_length=1, record=image({"mask": mask}))]
    )
    assert isinstance(verdict, NotScorable) and verdict.reason == validate_answer(image({"mask": mask}))


def test_an_object_that_fills_the_image_leaves_no_place_beside_it() -> None:
    full = {"size": [30, 30], "counts": [0, 900]}
    points = {"boxes": [0, 0, 30, 30], "positive_points": [[1, 1], [28, 1], [1, 28]]}
    assert worth(image(full), **points) == 1.0


@few
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**31), st.sampled_from([None, 1000.0]))
def test_whatever_the_object_a_prompt_that_is_all_right_exists(h: int, w: int, seed: int, scale: float | None) -> None:
    random = np.random.default_rng(seed)
    picture = np.zeros((h, w), bool)
    top, left = random.integers(0, h - 1), random.integers(0, w - 1)
    picture[top : top + random.integers(1, h), left : left + random.integers(1, w)] = True
    picture &= random.random((h, w)) < 0.8
    assume(picture.any())
    flat = picture.T.ravel()
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    mask = {"size": [h, w], "counts": [0, *runs] if flat[0] else runs}
    rows, columns = np.nonzero(picture)
    x, y = (1.0, 1.0) if scale is None else (scale / w, scale / h)
    x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    near = [
        max(0, x1 - (x2 - x1) / 4),
        max(0, y1 - (y2 - y1) / 4),
        min(w, x2 + (x2 - x1) / 4),
        min(h, y2 + (y2 - y1) / 4),
    ]
    down, right = (np.arange(0.125, side, 0.25) for side in (h, w))
    spots = [(c, r) for r in down for c in right if near[0] <= c <= near[2] and near[1] <= r <= near[3]]
    on = [(c * x, r * y) for c, r in spots if picture[int(r), int(c)]]
    off = [(c * x, r * y) for c, r in spots if not picture[int(r), int(c)]]
    given_ = {"boxes": [float(x1 * x), float(y1 * y), float(x2 * x), float(y2 * y)], "positive_points": far_apart(on)}
    given_["negative_points"] = far_apart(off) if len(off) > 3 else far_apart(on)
    row = image({"mask": mask} if scale is None else {"mask": mask, "scale": scale})
    room = (near[2] - near[0]) * (near[3] - near[1]) - picture.sum()
    expected = 1.0 if len(off) > 8 or room < 1e-6 else None
    found = accuracy(json.dumps(given_), row)
    assert found == pytest.approx(1.0) if expected else 0.75 <= found <= 1.0


def far_apart(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Three of the points: two far from each other, and the one farthest from both."""
    spots = np.array(points)
    first = spots[np.argmax(spots @ [1, 0.618])]
    second = spots[np.argmax(np.linalg.norm(spots - first, axis=1))]
    first = spots[np.argmax(np.linalg.norm(spots - second, axis=1))]
    away = np.minimum(np.linalg.norm(spots - first, axis=1), np.linalg.norm(spots - second, axis=1))
    return [tuple(map(float, spot)) for spot in (first, second, spots[np.argmax(away)])]


numbers = (
    st.floats(-1e13, 1e13) | st.integers(-600, 600) | st.sampled_from([float("nan"), float("inf"), True, "7", None])
)
point = st.tuples(numbers, numbers)


@few
@given(st.lists(numbers, min_size=4, max_size=4), st.lists(point, min_size=3, max_size=3), st.lists(point, min_size=3))
def test_no_numbers_break_the_score(box: Any, positive: Any, negative: Any) -> None:
    text = json.dumps({"boxes": box, "positive_points": positive, "negative_points": negative})
    for row in (image(), image(POLYGON), image({"mask": SQUARE, "scale": 1000})):
        [verdict] = Router().score([RewardItem(response=f"<answer>{text}</answer>", response_length=1, record=row)])
        assert isinstance(verdict, Score) and 0 <= verdict.overall <= 1


@few
@given(st.permutations(range(3)), st.permutations(range(3)), st.integers(0, 120), st.integers(1, 80))
def test_order_does_not_count_and_nearer_boxes_score_more(one: Any, two: Any, near: int, further: int) -> None:
    mixed = {"positive_points": [BESIDE["positive_points"][at] for at in one]}
    mixed["negative_points"] = [BESIDE["negative_points"][at] for at in two]
    assert worth(**mixed) == 1.0
    shifted = [worth(boxes=[BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]]) for by in (near, near + further)]
    assert shifted[0] >= shifted[1] and (shifted[0] > shifted[1] or near >= 100)


@few
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 400)), min_size=3, max_size=3), st.integers(0, 2))
def test_moving_a_point_onto_the_object_never_costs(points: list[tuple[int, int]], at: int) -> None:
    better = [*points]
    better[at] = (195, 105)
    assume(all(math.dist((195, 105), other) >= 10 for place, other in enumerate(points) if place != at))
    assert worth(positive_points=better) >= worth(positive_points=points)
