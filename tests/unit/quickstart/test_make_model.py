# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

from examples.quickstart.make_model import SPECIAL_TOKENS, make, train_tokenizer
from tests.world import tiny_model

TOKENIZER = train_tokenizer()


@given(st.text())
def test_every_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)


def test_special_tokens_are_single_and_skipped_in_answers() -> None:
    assert [len(TOKENIZER.encode(token)) for token in SPECIAL_TOKENS] == [1] * len(SPECIAL_TOKENS)
    ids = TOKENIZER.encode("<answer>B</answer><|im_end|>")
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "<answer>B</answer>"


def test_an_answer_has_six_tokens_and_letters_differ_in_one_of_them() -> None:
    answers = [TOKENIZER.encode(f"<answer>{letter}</answer><|im_end|>") for letter in "ABCD"]
    assert {len(ids) for ids in answers} == {6}
    assert sorted(len(set(tokens)) for tokens in zip(*answers, strict=True)) == [1, 1, 1, 1, 1, 4]


def test_chats_are_written_as_the_family_writes_them() -> None:
    content = [{"type": "video"}, {"type": "text", "text": "Why?"}]
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    assert TOKENIZER.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Why?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("tied", [False, True])
def test_the_video_model_loads_small_and_wide_awake(tmp_path: Path, tied: bool) -> None:
    model = Qwen3VLForConditionalGeneration.from_pretrained(tiny_model(tmp_path, tied=tied))
    assert sum(parameter.numel() for parameter in model.parameters()) < 700_000
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    for name, parameter in model.named_parameters():
        assert parameter.ndim < 2 or 0.08 < parameter.std() < 0.12, name
    ends = {TOKENIZER.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")}
    assert set(model.generation_config.eos_token_id) == ends


def test_images_and_videos_are_normalised_alike(tmp_path: Path) -> None:
    processor = AutoProcessor.from_pretrained(tiny_model(tmp_path))
    image, video = processor.image_processor, processor.video_processor
    assert list(image.image_mean) == list(video.image_mean) == [0.5] * 3
    assert list(image.image_std) == list(video.image_std) == [0.5] * 3
    assert (video.patch_size, video.temporal_patch_size, video.merge_size) == (16, 2, 2)


def test_the_text_model_loads_with_the_same_tokenizer(tmp_path: Path) -> None:
    directory = tiny_model(tmp_path, "qwen3")
    assert AutoModelForCausalLM.from_pretrained(directory).config.model_type == "qwen3"
    assert AutoTokenizer.from_pretrained(directory).get_vocab() == TOKENIZER.get_vocab()


def test_equal_seeds_give_equal_weights(tmp_path: Path) -> None:
    made = [load_file(tiny_model(tmp_path / str(n), seed=seed) / "model.safetensors") for n, seed in enumerate((0, 1))]
    make(tmp_path / "again", seed=0)
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(again[name].equal(weight) for name, weight in made[0].items())
    assert not again["lm_head.weight"].equal(made[1]["lm_head.weight"])


def test_a_model_is_reused_only_for_the_same_seed(tmp_path: Path) -> None:
    assert make(tmp_path, seed=0)
    assert not make(tmp_path, seed=0)
    assert make(tmp_path, seed=1)
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 1
