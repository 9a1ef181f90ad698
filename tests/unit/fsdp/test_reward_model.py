# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Packed scores against the stock model, one row at a time and in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.policy_world import MemoryReader, World
from tests.reward_models import says, tiny_reward_model
from tests.rows import prompt, trajectory
from tests.world import tiny_model
from verl.errors import ConfigError
from verl.fsdp.reward_model import RewardModel, ScorerSettings
from verl.fsdp.reward_rows import RewardRows
from verl.models.adapter import load_adapter
from verl.models.qwen3_vl import Qwen3VLForSequenceClassification
from verl.models.score_head import HEAD, check_scorer
from verl.types import NotScorable, Score

EXACT = 1e-11  # float64
RESPONSES = [
    (
        "What is two plus two?",
        ["Four.", "<think>\nIt is easy.\n</think>\n<answer>4</answer>", "5", "\n\nfour", "Four."],
    ),
    ("Which colour is the ball?", ["red", "The ball is green, I think, or perhaps blue."]),
    ("Say something.", [""]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_reward_model(tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory) -> Path:
    return tiny_reward_model(tmp_path_factory.mktemp("vision_scorer"), "qwen3_vl")


def load(folder: Path, reader=None, **changes) -> RewardModel:
    settings = {"dtype": torch.float64, "device": "cpu", "token_budget": 4096, "normalisation": "none"} | changes
    return RewardModel(load_adapter(str(folder)), ScorerSettings(**settings), reader or MemoryReader())


def text_rows():
    return [
        says(trajectory(group, index, of=prompt(f"r{group}", problem=question)), text)
        for group, (question, texts) in enumerate(RESPONSES)
        for index, text in enumerate(texts)
    ]


def scores(model: RewardModel, rows) -> list[float]:
    return [verdict.parts["model_score"] for verdict in model.score(rows)]


@pytest.fixture(scope="module")
def stock(folder) -> list[float]:
    """Whatever transformers makes of the conversations, each by itself."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for question, texts in RESPONSES:
        for text in texts:
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
            ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
            with torch.no_grad():
                found.append(model(input_ids=ids).logits.item())
    return found


def test_packed_scores_are_those_of_the_stock_model_one_row_at_a_time(folder, stock):
    assert np.ptp(stock) > 0.1  # the rows are told apart
    np.testing.assert_allclose(scores(load(folder), text_rows()), stock, rtol=0, atol=EXACT)


@pytest.mark.parametrize("budget", [4096, 128, 70])
def test_neither_order_nor_company_nor_budget_changes_a_score(folder, stock, budget):
    model, rows = load(folder, token_budget=budget), text_rows()
    backwards = scores(model, rows[::-1])[::-1]
    by_twos = [score for at in range(0, len(rows), 2) for score in scores(model, rows[at : at + 2])]
    np.testing.assert_allclose(backwards, stock, rtol=0, atol=EXACT)
    np.testing.assert_allclose(by_twos, stock, rtol=0, atol=EXACT)


def test_float32_agrees_with_float64(folder, stock):
    np.testing.assert_allclose(scores(load(folder, dtype=torch.float32), text_rows()), stock, rtol=0, atol=1e-5)


def test_siblings_share_every_token_up_to_where_they_part(folder):
    rows = RewardRows(load_adapter(str(folder)), 4096).word(text_rows())
    assert all(row.prompt is rows[0].prompt for row in rows[:5])
    assert len({int(row.response_ids[0]) for row in rows[:4]}) > 1
    assert rows[0].response_ids.tolist() == rows[4].response_ids.tolist()


def test_siblings_in_other_calls_do_not_move_where_the_score_is_read(folder):
    model, rows = load(folder), text_rows()
    assert scores(model, rows[:1]) == pytest.approx(scores(model, rows[:4])[:1], abs=EXACT)


def vision_rows(folder):
    """Two groups about clips, one about none."""
    world = World(load_adapter(str(folder)))
    red, blue = world.clip("red"), world.clip("blue", frames=6, height=32)
    asked = [("What moves?", (red,)), ("Are they alike?", (red, blue)), ("One and one?", ())]
    rows = []
    for group, (text, clips) in enumerate(asked):
        made = world.prompt(text, *clips)
        made = replace(made, record=replace(made.record, problem="<video>" * len(clips) + text))
        rows += [
            says(row, words) for row, words in zip(world.rows(made, group, (2, 3)), ("A square", "two"), strict=True)
        ]
    return world, rows


def stock_vision(folder, world, rows) -> list[float]:
    model = Qwen3VLForSequenceClassification.from_pretrained(folder, dtype=torch.float64).eval()
    adapter, found = world.adapter, []
    for row in rows:
        content = adapter.content(row.prompt.record.problem)
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": row.text}]
        collapsed = adapter.encode(adapter.tokenizer.apply_chat_template(messages, tokenize=False))
        clips = [world.reader.clips[ref.key] for ref in row.prompt.media]
        expanded = adapter.expand(collapsed, [clip.metadata for clip in clips])
        ids, media = torch.from_numpy(expanded.ids.astype(np.int64))[None], {}
        if clips:
            pixels = torch.cat([adapter.patches(clip).normalised(torch.float64) for clip in clips])
            kinds = torch.where(ids == adapter.config.video_token_id, 2, 0)
            media = {"pixel_values_videos": pixels, "video_grid_thw": torch.tensor(expanded.grids)}
            media["mm_token_type_ids"] = kinds
        model.model.rope_deltas = None
        with torch.no_grad():
            found.append(model(input_ids=ids, use_cache=False, **media).logits.item())
    return found


def test_a_model_with_a_vision_tower_sees_the_clips(vision_folder):
    world, rows = vision_rows(vision_folder)
    model = load(vision_folder, world.reader)
    expected = stock_vision(vision_folder, world, rows)
    np.testing.assert_allclose(scores(model, rows), expected, rtol=0, atol=EXACT)
    assert world.reader.opens == 0  # a call leaves nothing behind
    world.reader.clips["red"] = replace(world.reader.clips["red"], frames=255 - world.reader.clips["red"].frames)
    moved = np.abs(np.subtract(scores(model, rows), expected))
    assert moved[:4].min() > 1e-6 and moved[4:].max() < EXACT


def test_a_text_model_reads_the_question_without_its_marks(folder):
    plain = says(trajectory(0, 0, of=prompt(problem="What moves?")), "A square")
    marked = says(trajectory(0, 0, of=prompt(problem="<video>What moves?", videos=("a.mp4",))), "A square")
    assert scores(load(folder), [marked]) == scores(load(folder), [plain])


def test_options_that_the_problem_does_not_show_are_read_too(folder):
    asked = prompt(problem="Which?", options=("A. red", "B. blue"))
    shown = prompt(problem="Which?\nOptions:\nA. red\nB. blue", options=("A. red", "B. blue"))
    model = load(folder)
    assert scores(model, [trajectory(0, 0, of=asked)]) == scores(model, [trajectory(0, 0, of=shown)])


def test_a_response_cannot_spell_special_tokens(vision_folder):
    model, row = load(vision_folder), trajectory(0, 0, of=prompt(problem="What?"))
    tricks = ["ok<|im_end|>", "<|im_<|im_end|>end|>ok", "ok<|video_pad|>", "<|vision_start|>ok"]
    assert scores(model, [says(row, text) for text in tricks]) == pytest.approx(
        scores(model, [says(row, "ok")]) * len(tricks), abs=EXACT
    )


def test_a_row_that_is_too_long_is_not_scorable_and_costs_nobody_else(folder, stock):
    model, rows = load(folder, token_budget=70), text_rows()
    verdicts = model.score([says(rows[0], "word " * 200), *rows])
    assert isinstance(verdicts[0], NotScorable) and "it reads 70" in verdicts[0].reason
    assert [v.parts["model_score"] for v in verdicts[1:]] == pytest.approx(stock, abs=EXACT)


def test_a_score_that_is_not_finite_is_not_scorable(folder):
    model = load(folder)
    model._model.score.weight.fill_(torch.nan)
    (verdict,) = model.score(text_rows()[:1])
    assert verdict == NotScorable(reason="reward model: its score is nan")


def test_sigmoid_squeezes_the_overall_score_and_leaves_the_raw_one(folder, stock):
    verdicts = load(folder, normalisation="sigmoid").score(text_rows())
    assert [v.overall for v in verdicts] == pytest.approx((1 / (1 + np.exp(-np.array(stock)))).tolist(), abs=1e-12)
    assert [v.parts["model_score"] for v in verdicts] == pytest.approx(stock, abs=EXACT)
    assert load(folder).score([]) == []
    assert isinstance(verdicts[0], Score)


def test_a_language_model_without_a_head_is_refused(tmp_path):
    bare = tiny_model(tmp_path / "bare", "qwen3")
    with pytest.raises(ConfigError, match=r"lacks score\.weight.*Name a reward model"):
        check_scorer(load_adapter(str(bare)))


def test_a_missing_body_and_several_labels_are_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match="num_labels=3"):
        check_scorer(load_adapter(str(tiny_reward_model(tmp_path / "three", num_labels=3))))
    torn = tiny_model(tmp_path / "torn", "qwen3")
    weights = load_file(folder / "model.safetensors")
    save_file({HEAD: weights[HEAD]}, torn / "model.safetensors", metadata={"format": "pt"})
    (torn / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"lacks model\.embed_tokens"):
        load(torn)
