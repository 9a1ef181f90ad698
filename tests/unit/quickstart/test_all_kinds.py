# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of question: its own answer is right for the real reward, every other one less so."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from examples.quickstart.all_kinds import ALL_KINDS, checks_of, mask_of
from examples.quickstart.by_kind import accuracy, answers_of, best_constant
from examples.quickstart.make_model import texts_of_all_kinds, train_tokenizer
from examples.quickstart.make_videos import KNOWN_KINDS, VideoFormat, paint, parse_kinds
from examples.quickstart.questions import COLOURS, GLYPHS
from tests.rows import record
from tests.runs import ROOT
from verl.config.load import load
from verl.rewards.contract import TASKS, RewardItem, find_task
from verl.rewards.router import Router, validate_answer
from verl.types import Record, Score

CONFIG = load([f"config={ROOT / 'examples/quickstart/all_kinds.yaml'}"])
ROUTER = Router(**CONFIG.worker.reward.reward_function_kwargs)
NAMES = list(ALL_KINDS)
CHANCE = {"boolean": 0.5, "span": 0.5, "width": 0.425, "words": 0.55, "html": 0.72, "points": 0.6, "event": 0.4}


def rows_of(name: str) -> dict[str, Record]:
    """A row for every answer that is right somewhere."""
    kind = ALL_KINDS[name]
    return {
        answer: record(
            problem=kind.problem,
            answer=kind.truth(answer),
            problem_type=kind.problem_type,
            options=kind.options,
            data_type="video",
        )
        for answer in answers_of(kind)
    }


def drawn(name: str, turn: int) -> tuple[np.ndarray, str]:
    """Frames [F, H, W, 3] as float, and the answer."""
    scene, answer = ALL_KINDS[name].draw(random.Random(f"{name}{turn}"), turn, 4.0)
    return paint(scene, VideoFormat()).astype(float), answer


def shown(frames: np.ndarray) -> np.ndarray:
    """[F, H, W] where a shape is."""
    return frames.max(axis=-1) > 100


def seen_box(mask: np.ndarray) -> list[int]:
    """x1, y1, x2, y2 of a mask [H, W] in sixths of the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    borders = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return [round(border * 6 / 64) for border in borders]


def test_there_is_a_kind_for_every_task():
    assert {id(find_task(kind.problem_type)) for kind in ALL_KINDS.values()} == {id(TASKS[name]) for name in TASKS}
    assert len({kind.problem for kind in ALL_KINDS.values()}) == len(ALL_KINDS)
    assert parse_kinds("all") == dict.fromkeys(ALL_KINDS, 1.0)
    assert set(ALL_KINDS) <= set(KNOWN_KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_only_its_own_answer_scores_one(name: str):
    rows = rows_of(name)
    assert len(rows) > 1
    for answer, row in rows.items():
        assert validate_answer(row) is None
        item = RewardItem(response=f"<answer>{answer}</answer>", response_length=1, record=row)
        assert [verdict.overall for verdict in ROUTER.score([item])] == [pytest.approx(1.0)]
        other = next(each for each in rows if each != answer)
        assert accuracy(ROUTER, other, row) < 0.85


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_is_none_of_them_earns_little(name: str):
    answer, row = next(iter(rows_of(name).items()))
    half = [f"<answer>{answer[: len(answer) // 2]}"] * (len(answer) > 8)
    for response in ("", "<answer></answer>", "<answer>nothing</answer>", *half):
        (verdict,) = ROUTER.score([RewardItem(response=response, response_length=1, record=row, truncated=True)])
        assert isinstance(verdict, Score) and verdict.overall < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_a_look_at_the_video_earns_no_more_than_chance(name: str):
    best = best_constant(ROUTER, ALL_KINDS[name], list(rows_of(name).values()))
    assert best <= CHANCE.get(name, 0.34)


def test_answers_fit_and_prompts_too():
    tokenizer = train_tokenizer(texts_of_all_kinds())
    lengths = [
        len(tokenizer.encode(f"<answer>{answer}</answer><|im_end|>"))
        for kind in ALL_KINDS.values()
        for answer in answers_of(kind)
    ]
    assert max(lengths) < CONFIG.data.max_response_length
    assert len(tokenizer) <= 512


@pytest.mark.parametrize("name", ["corner", "track", "points", "event"])
def test_boxes_are_where_the_shape_is(name: str):
    for turn in range(4):
        frames, answer = drawn(name, turn)
        value = json.loads(answer)
        boxes = value["boxes"] if isinstance(value["boxes"], dict) else {str(value.get("time", 0)): value["boxes"]}
        assert {second: seen_box(shown(frames)[int(second) * 4]) for second in boxes} == boxes


@pytest.mark.parametrize("name", ["span", "event"])
def test_a_shape_is_visible_exactly_then(name: str):
    for turn in range(4):
        frames, answer = drawn(name, turn)
        moments = np.flatnonzero(shown(frames).any(axis=(1, 2))) / 4
        assert json.loads(answer)["time"] == [moments[0], moments[-1]]


@pytest.mark.parametrize("name", ["svg", "html", "words", "better", "pair"])
def test_colours_are_those_of_the_answer(name: str):
    for turn in range(12):
        frames, answer = drawn(name, turn)
        seen = frames[0][shown(frames)[0]]
        names = {
            min(COLOURS, key=lambda each: np.abs(pixel - COLOURS[each]).max()) for pixel in np.unique(seen, axis=0)
        }
        if name == "better":
            told = {"Response 1": {"red"}, "Response 2": {"blue"}}.get(answer)
            assert names == told if told else not names & {"red", "blue"}
        elif name == "pair":
            assert names == {list(COLOURS)["ABCD".index(letter)] for letter in answer.split(",")}
        else:
            assert all(colour in answer for colour in names)


def test_shapes_are_as_wide_as_answered():
    for turn in range(4):
        frames, answer = drawn("width", turn)
        columns = shown(frames)[0].any(axis=0).sum()
        assert abs(columns / 6.4 - int(answer)) < 0.5


def test_letters_are_read_off_the_picture():
    for turn in range(4):
        frames, answer = drawn("letter", turn)
        mask = shown(frames)[0]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        centres = [((np.arange(5) + 0.5) / 5 * len(side) + side[0]).astype(int) for side in (rows, columns)]
        grid = mask[np.ix_(*centres)]
        assert tuple("".join(".#"[cell] for cell in row) for row in grid.astype(int)) == GLYPHS[answer]


def test_a_row_holds_tests_and_masks_in_the_place_of_programs_and_prompts(tmp_path: Path):
    assert checks_of("f=lambda:3") == [{"call": "f()", "returns": 3}]
    prompt = {"boxes": [3, 0, 6, 3], "positive_points": [], "negative_points": [], "time": 1}
    assert mask_of(json.dumps(prompt)) == {"mask": [[3, 0, 6, 0, 6, 3, 3, 3]], "time": 1}
