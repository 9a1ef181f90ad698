# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from examples.quickstart.captions import caption
from examples.quickstart.make_model import make
from examples.quickstart.make_videos import JOINT, KNOWN_KINDS, STILL_SIZE, Recipe, write_dataset, write_split
from examples.quickstart.questions import COLOURS, KINDS
from examples.quickstart.warm_up import FormBatches, WarmUp, warm_up
from tests.world import tiny_model, tiny_rows

BRIEF = WarmUp(steps=1, batch_size=2)
JOINT_RECIPE = Recipe(kinds={"colour": 1.0}, train=7, val=1, media=JOINT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def unanswered(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "answer"} for row in rows]


def test_labels_are_the_random_answer_and_nothing_else(model: Path, tmp_path: Path) -> None:
    rows = unanswered(tiny_rows(tmp_path, 4, kinds="colour,grounding"))
    batches = FormBatches(model, tmp_path, WarmUp(batch_size=6))
    batch = batches.draw(rows)
    for labels, ids, mask in zip(batch["labels"], batch["input_ids"], batch["attention_mask"], strict=True):
        taught = batches.processor.tokenizer.decode(labels[labels != -100])
        assert taught.startswith("<answer>") and taught.endswith("</answer><|im_end|>")
        end = int(mask.sum())
        assert torch.equal(ids[end - int((labels != -100).sum()) : end], labels[labels != -100])


def test_what_is_taught_says_nothing_about_the_video(model: Path, tmp_path: Path) -> None:
    row = unanswered(tiny_rows(tmp_path, 1))[0]
    batches = FormBatches(model, tmp_path, WarmUp())
    counts = Counter(batches.random_answer(row) for _ in range(4000))
    assert set(counts) == set("ABCD")
    assert all(850 < count < 1150 for count in counts.values())


@pytest.mark.parametrize(
    ("kind", "form"),
    [("colour", "[ABCD]"), ("boolean", "Yes|No"), ("counting", "[1-4]"), ("grounding", r'\{"time": \[.*\]\}')],
)
def test_each_kind_is_taught_its_own_form(model: Path, tmp_path: Path, kind: str, form: str) -> None:
    answer = FormBatches(model, tmp_path, WarmUp()).random_answer({"problem": KINDS[kind].problem})
    assert re.fullmatch(form, answer)


def test_captions_are_of_new_scenes_in_a_code_of_their_own(model: Path, tmp_path: Path) -> None:
    rows = unanswered(tiny_rows(tmp_path, 4, kinds="all"))
    batches = FormBatches(model, tmp_path, WarmUp(batch_size=6, captions=2))
    decode = batches.processor.tokenizer.decode
    taught = [decode(labels[labels != -100]) for labels in batches.draw(rows)["labels"]]
    assert all(re.fullmatch(r"[a-e]\d{6}( [a-e]\d{6})*<\|im_end\|>", text) for text in taught[:2])
    assert all(text.startswith("<answer>") for text in taught[2:])
    (_, metadata) = own = batches.clip(tmp_path / rows[0]["videos"][0])
    asked, clip, _ = batches.captioned(metadata)
    assert asked["problem"] not in {kind.problem for kind in KNOWN_KINDS.values()}
    assert clip[0].shape == own[0].shape and clip[0].dtype == own[0].dtype and not torch.equal(clip[0], own[0])


def test_a_caption_says_what_each_shape_is_like() -> None:
    scene, _ = KNOWN_KINDS["event"].draw(random.Random(0), 3, 4.0)
    (shape,) = scene.shapes
    letter = "abcd"[list(COLOURS.values()).index(shape.colour)]
    assert caption(scene) == f"{letter}202350"  # on the right, above, from 2 to 3, half as wide, nothing written


def test_a_warm_model_is_reused_until_what_it_came_from_changes(tmp_path: Path) -> None:
    cold, data, warm = tmp_path / "cold", tmp_path / "data", tmp_path / "warm"
    make(cold, seed=0)
    write_dataset(data, Recipe(kinds={"colour": 1.0}, train=2, val=1))
    assert warm_up(cold, data, warm, BRIEF)
    before, after = (load_file(folder / "model.safetensors") for folder in (cold, warm))
    assert not after["lm_head.weight"].equal(before["lm_head.weight"])
    assert (warm / "tokenizer.json").read_bytes() == (cold / "tokenizer.json").read_bytes()
    assert not warm_up(cold, data, warm, BRIEF)
    make(cold, seed=1)
    assert warm_up(cold, data, warm, BRIEF)


def test_rows_about_images_and_text_are_taught_the_form_too(model: Path, tmp_path: Path) -> None:
    rows = unanswered(list(write_split(tmp_path, "train", 7, JOINT_RECIPE)))
    batches = FormBatches(model, tmp_path, WarmUp(batch_size=12))
    batch = batches.draw(rows)
    assert len(batch["image_grid_thw"]) + len(batch["video_grid_thw"]) < 12  # some have neither
    taught = [batches.processor.tokenizer.decode(labels[labels != -100]) for labels in batch["labels"]]
    assert all(re.fullmatch(r"<answer>[ABCD]</answer><\|im_end\|>", text) for text in taught)
    assert batches.image(tmp_path / rows[1]["images"][0]).shape == (3, STILL_SIZE, STILL_SIZE)
