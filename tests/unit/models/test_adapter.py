# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a model folder, and text in and out of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from verl.errors import ConfigError, DataError
from verl.models.adapter import ADAPTERS, ModelAdapter, load_adapter
from verl.models.segments import ATTENTION_NAME


def test_the_folder_decides_the_family(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    assert (adapter.family, adapter.num_position_axes, adapter.align) == ("qwen3_vl", 4, 32)
    assert (text_adapter.family, text_adapter.num_position_axes) == ("qwen3", 1)
    assert {"qwen2", "qwen3", "qwen3_vl"} <= set(ADAPTERS)


def test_an_unknown_model_type_is_refused_by_name(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="gpt2"):
        load_adapter(str(folder))


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_adapter(str(tmp_path / "nowhere"))


def test_videos_go_where_the_marks_are(adapter: ModelAdapter) -> None:
    text = adapter.render("First <video>, then <video>?", 2, system="Be brief.")
    video = "<|vision_start|><|video_pad|><|vision_end|>"
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\nFirst {video}, then {video}?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_marks_and_videos_must_agree(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    with pytest.raises(DataError, match="1 <video> marks for 2 videos"):
        adapter.render("<video>", 2)
    with pytest.raises(DataError, match="0 <video> marks for 1 videos"):
        text_adapter.render("look", 1)
    with pytest.raises(DataError, match="1 <image> marks for 0 images"):
        adapter.render("<image>", 0)
    with pytest.raises(DataError, match="0 <image> marks for 1 images"):
        adapter.render("<video>", 1, num_images=1)


def test_text_models_get_plain_text(text_adapter: ModelAdapter) -> None:
    assert text_adapter.render("Hi", 0) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_decoding_undoes_encoding(adapter: ModelAdapter) -> None:
    text = "  Spaces , kept .\n\u00e9\u4e2d <answer>A</answer>"
    ids = adapter.encode(text + "<|im_end|>")
    assert ids.dtype == np.int32
    assert adapter.decode(ids) == text
    assert adapter.decode(ids, skip_special_tokens=False) == text + "<|im_end|>"


def test_responses_end_as_the_generation_config_says(adapter: ModelAdapter, text_folder: Path, tmp_path: Path) -> None:
    ids = [adapter.encode(text).item() for text in ("<|im_end|>", "<|endoftext|>")]
    assert adapter.eos_ids == tuple(ids)
    assert adapter.pad_id == ids[1]
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    (folder / "generation_config.json").unlink()
    assert load_adapter(str(folder)).eos_ids == (ids[0],)


def test_vision_tokens_are_never_sampled(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    tokens = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    assert set(adapter.banned_ids) == {adapter.encode(token).item() for token in tokens}
    assert text_adapter.banned_ids == ()


def test_another_chat_template_replaces_the_folders(vision_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bare.jinja"
    file.write_text("{% for part in messages[0].content %}{{ part.text or '<|video_pad|>' }}{% endfor %}")
    adapter = load_adapter(str(vision_folder), chat_template=str(file))
    assert adapter.render("a <video> b", 1) == "a <|video_pad|> b"
    with pytest.raises(ConfigError, match="no file"):
        load_adapter(str(vision_folder), chat_template=str(tmp_path / "none.jinja"))


def test_a_tokenizer_without_chat_template_is_refused(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "m"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="override_chat_template"):
        load_adapter(str(folder))


def test_the_network_is_built_to_train(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    model = adapter.build(torch.float32)
    assert model.training
    assert model.config.text_config._attn_implementation == ATTENTION_NAME
    assert model.config.vision_config._attn_implementation != ATTENTION_NAME
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert text_adapter.build(torch.bfloat16).dtype == torch.bfloat16


def test_overrides_reach_nested_configs_and_leave_the_adapters_alone(adapter: ModelAdapter) -> None:
    changes = {"text_config": {"rms_norm_eps": 0.5}, "attention_bias": True, "video_token_id": 3}
    model = adapter.build(torch.float32, override_config=changes, meta=True)
    assert model.config.text_config.rms_norm_eps == 0.5
    assert model.config.text_config.attention_bias
    assert model.config.video_token_id == 3
    assert adapter.config.text_config.rms_norm_eps != 0.5


def test_a_misspelt_override_names_the_nearest_key(adapter: ModelAdapter) -> None:
    with pytest.raises(ConfigError, match="rms_norm_eps"):
        adapter.build(torch.float32, override_config={"text_config": {"rms_norm_epsilon": 0.5}}, meta=True)
    with pytest.raises(ConfigError, match="video_token_id"):
        adapter.build(torch.float32, override_config={"video_tokenid": 5}, meta=True)


def test_shard_units_are_the_blocks(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    model = adapter.build(torch.float32, meta=True)
    assert len(adapter.shard_units(model)) == 3 + 2
    assert adapter.vision_tower(model) is model.model.visual
    assert adapter.head(model).shape == (adapter.config.text_config.vocab_size, 64)
    text_model = text_adapter.build(torch.float32, meta=True)
    assert len(text_adapter.shard_units(text_model)) == 2
    assert text_adapter.vision_tower(text_model) is None
