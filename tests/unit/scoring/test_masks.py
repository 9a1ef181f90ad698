# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Masks against drawings of them. The compressed texts were written by COCO's own code."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from verl.scoring.masks import MAX_CORNERS, MAX_RUNS, read_region

NOISE = [
    1,
    1,
    2,
    3,
    1,
    1,
    2,
    1,
    1,
    1,
    4,
    1,
    3,
    2,
    2,
    2,
    1,
    2,
    1,
    2,
    1,
    1,
    2,
    2,
    1,
    2,
    1,
    2,
    3,
    3,
    1,
    1,
    2,
    2,
    1,
    2,
    2,
    1,
]
NOISE += [6, 1, 3, 1, 6, 1, 1, 2, 4, 1, 2, 1, 2, 2, 1, 1, 1, 4, 1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 2, 2, 1, 3, 2, 2, 3, 4, 5]
NOISE += [1, 2]
NOISE_TEXT = "1122ON10O030O1O0O0000O11O00021NN11O01O40M030K13ON001OO030M0010O01001O11O122MM"
DISK_TEXT = "Xc0=a26K4L4M2M4M2N2N2O0O2N2O0O2O0O2O000O2O000000000000000000000001N10001N101N101N2N101N2N2N3L3N3L4L5JWa0"


def draw(size: list[int], runs: list[int]) -> NDArray[np.bool_]:
    """[height, width]; columns first, as COCO has it."""
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pixels.reshape(size[::-1]).T


def runs_of(picture: NDArray[np.bool_]) -> list[int]:
    flat = picture.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def box_of(picture: NDArray[np.bool_]) -> tuple[float, ...]:
    rows, columns = np.nonzero(picture)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize(
    ("size", "text", "runs", "box"),
    [
        ([5, 7], ";32000004", [11, 3, 2, 3, 2, 3, 2, 3, 6], (2, 1, 6, 4)),
        ([3, 4], "01:0", [0, 1, 10, 1], (0, 0, 4, 3)),
        ([3, 3], "09", [0, 9], (0, 0, 3, 3)),
        ([4, 3], "444", [4, 4, 4], (1, 0, 2, 4)),
        ([3, 5], "1120000000O", [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 1], (0, 1, 5, 2)),
        ([13, 11], NOISE_TEXT, NOISE, (0, 0, 11, 13)),
    ],
)
def test_compressed_and_plain_runs_are_the_same_mask(size: list[int], text: str, runs: list[int], box: Any) -> None:
    region = read_region({"size": size, "counts": text})
    assert region is not None and region == read_region({"size": size, "counts": runs})
    assert (region.box, region.area) == (box, sum(runs[1::2]))


def test_a_disk_is_where_it_was_drawn() -> None:
    region = read_region({"size": [97, 61], "counts": DISK_TEXT})
    assert region is not None
    down, right = np.mgrid[:97, :61]
    disk = (down - 40) ** 2 + (right - 30) ** 2 < 25**2
    found = [[region.contains((column, row)) for column in range(61)] for row in range(97)]
    assert np.array_equal(found, disk)
    assert (region.area, region.box) == (1941, (6, 16, 55, 65))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data(), st.sampled_from([None, 1000.0, 7.0]))
def test_runs_say_the_same_as_their_picture(height: int, width: int, data: st.DataObject, scale: float | None) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    picture = np.array(bits).reshape(height, width)
    region = read_region({"size": [height, width], "counts": runs_of(picture)}, scale)
    if not picture.any():
        assert region is None
        return
    assert region is not None
    x, y = (1.0, 1.0) if scale is None else (scale / width, scale / height)
    assert region.box == pytest.approx([side * by for side, by in zip(box_of(picture), (x, y, x, y), strict=True)])
    assert region.area == pytest.approx(picture.sum() * x * y)
    for row in range(height):
        for column in range(width):
            assert region.contains(((column + 0.5) * x, (row + 0.5) * y)) == picture[row, column]
    assert not any(region.contains(point) for point in ((-0.1, 0), (0, -0.1), (width * x + 1, 0), (0, height * y + 1)))
    assert region.contains((width * x, height * y)) == picture[-1, -1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=6, unique=True))
def test_a_polygon_holds_the_points_that_a_walk_around_it_turns_about(corners: list[tuple[int, int]]) -> None:
    region = read_region([[number for corner in corners for number in corner]])
    if region is None:
        return
    points = np.random.default_rng(0).uniform(-1, 21, size=(40, 2))
    turned = np.array([*corners[1:], corners[0]], dtype=float)
    ours = np.array(corners, dtype=float)
    for point in points:
        first, second = ours - point, turned - point
        cross = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
        winding = np.arctan2(cross, (first * second).sum(axis=1)).sum() / (2 * np.pi)
        assert region.contains(tuple(point)) == (round(winding) % 2 == 1)


def test_several_polygons_are_one_object() -> None:
    region = read_region([[0, 0, 10, 0, 10, 10, 0, 10], [20, 0, 30, 0, 30, 10, 20, 10]])
    assert region is not None and region.box == (0, 0, 30, 10)
    assert [region.contains((x, 5)) for x in (5, 15, 25, 35)] == [True, False, True, False]


@pytest.mark.parametrize(
    "value",
    [
        {"size": [5, 7], "counts": [35]},
        {"size": [5, 7], "counts": [30, 6]},
        {"size": [5, 7], "counts": [30, 4]},
        {"size": [5, 7], "counts": [-5, 40]},
        {"size": [5, 7], "counts": [30.0, 5.0]},
        {"size": [5, 7], "counts": [True, 34]},
        {"size": [5, 7], "counts": []},
        {"size": [5, 7], "counts": ";3200000"},
        {"size": [5, 7], "counts": ";32000004 "},
        {"size": [5, 7], "counts": ";3200000T"},
        {"size": [5, 7], "counts": "\u4e00"},
        {"size": [0, 7], "counts": []},
        {"size": [5], "counts": [0, 5]},
        {"size": [10**9, 10**9], "counts": [0, 10**18]},
        {"size": [5, 7]},
        {"counts": "09"},
        "09",
        None,
        [],
        [[]],
        [[0, 0, 1, 1]],
        [[0, 0, 1, 1, 2]],
        [[0, 0, 1, 1, 2, 2]],
        [[0, 0, 1, 0, 1, "1"]],
        [[0, 0, 1, 0, 1, float("nan")]],
        [[0, 0, 1, 0, 1, 1], [0, 0]],
    ],
)
def test_what_is_no_mask_is_none(value: Any) -> None:
    assert read_region(value) is None


@pytest.mark.parametrize("counts", [unit * MAX_RUNS for unit in ("0", "`", "P0", "o", "O", "1", "\u00ff")])
def test_no_compressed_text_takes_long_to_read(counts: str) -> None:
    assert _seconds({"size": [1000, 1000], "counts": counts[:MAX_RUNS]}) < 0.05
    assert read_region({"size": [1000, 1000], "counts": counts[:MAX_RUNS] + "0"}) is None


def test_the_largest_masks_do_not_take_long_to_read() -> None:
    assert _seconds({"size": [1000, 1000], "counts": [10] * MAX_RUNS}) < 0.05
    assert read_region({"size": [1000, 1000], "counts": [10] * (MAX_RUNS - 1) + [5, 5]}) is None
    around = np.linspace(0, 6.28, MAX_CORNERS)
    corners = np.stack([np.cos(around), np.sin(around)], axis=1).ravel().tolist()
    assert _seconds([corners]) < 0.05
    assert read_region([[*corners, 0.0, 0.0]]) is None


def _seconds(value: Any) -> float:
    """Processor time of the fastest of a few readings."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        read_region(value)
        seconds.append(time.process_time() - start)
    return min(seconds)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=30) | st.lists(st.integers(-3, 40), max_size=8),
    st.lists(st.integers(-1, 9), max_size=3),
)
def test_no_counts_break_the_reader(counts: Any, size: list[int]) -> None:
    region = read_region({"size": size, "counts": counts})
    if region is not None:
        assert 0 < region.area <= size[0] * size[1]
        assert region.canvas == (0, 0, size[1], size[0])
