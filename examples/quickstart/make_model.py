# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builds a random Qwen3-VL of 0.7 million parameters, in the file layout of the published checkpoints.

Matrices have a standard deviation of 0.1: with the usual 0.02 a model this small hardly learns to see. Heads have
32 dimensions, the least that vLLM's CPU attention takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from examples.quickstart.all_kinds import ALL_KINDS
from examples.quickstart.questions import KINDS, Kind

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PATCH_SIZE, TEMPORAL_PATCH_SIZE, MERGE_SIZE = 16, 2, 2
INIT_STD = 0.1
RECIPE = "recipe.json"  # in the directory: what the model was built from, written last
MODEL_VERSION = 1  # bump when the same seed gives another model than before
WORDS = (
    "You are a helpful assistant.",
    "system\nuser\nassistant\n" * 2,
    " ".join(f"<{tenth / 10:.1f} seconds>" for tenth in range(100)),
)
PRETOKENIZE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' or 'image' in part or 'image_url' in part %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part.type == 'video' or 'video' in part %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif 'text' in part %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def build_tiny_qwen3_vl(directory: Path, seed: int = 0, *, tied: bool = False, answers: Iterable[str] = ()) -> Path:
    """Writes a random video-language model, its tokenizer and its processors; returns `directory`.

    `tied` shares input embedding and output head, as the published 2B and 4B models do. `answers` are further texts
    that the tokenizer should have short codes for.
    """
    tokenizer = train_tokenizer(answers)
    token = tokenizer.get_vocab().__getitem__
    config = Qwen3VLConfig(
        text_config={
            **_text_config(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": tied,
        },
        vision_config=_vision_config(),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    _save(Qwen3VLForConditionalGeneration(config), tokenizer, directory)
    for name, processor in _processors().items():
        (directory / name).write_text(json.dumps(processor, indent=2) + "\n")
    return directory


def build_tiny_qwen3(directory: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Writes a random text-only model with the same tokenizer and the same language layers."""
    tokenizer = train_tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(
        **_text_config(tokenizer),
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=tied,
    )
    _save(Qwen3ForCausalLM(config), tokenizer, directory)
    return directory


def train_tokenizer(more: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer fitted to the quickstart's prompts. Every text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512 - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(itertools.chain(_corpus(), more), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=CHAT_TEMPLATE,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
    )


def _corpus() -> Iterator[str]:
    yield from _prompts(KINDS)
    for answer in ("A", "B", "C", "D", "Yes", "No", '{"time": [1.5, 2.5]}', *map(str, range(10))):
        yield f"<answer>{answer}</answer>"
    yield from WORDS


def texts_of_all_kinds() -> Iterator[str]:
    """Prompts and answers of every kind of question."""
    yield from _prompts(ALL_KINDS)
    for kind in ALL_KINDS.values():
        yield from (f"<answer>{kind.draw(random.Random(0), turn, 4.0)[1]}</answer>" for turn in range(8))


def _prompts(kinds: Mapping[str, Kind]) -> Iterator[str]:
    template = jinja2.Template(Path(__file__).with_name("prompt.jinja").read_text())
    for kind in kinds.values():
        yield template.render(problem=kind.problem.replace("<video>", ""), options=kind.options)


def _text_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "initializer_range": INIT_STD,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _vision_config() -> dict[str, Any]:
    return {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": PATCH_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "spatial_merge_size": MERGE_SIZE,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1, 2],
        "initializer_range": INIT_STD,
    }


def _processors() -> dict[str, dict[str, Any]]:
    """Images and videos share mean and deviation: vLLM normalises videos with the image processor's."""
    shared = {
        "processor_class": "Qwen3VLProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": PATCH_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "merge_size": MERGE_SIZE,
        "size": {"shortest_edge": 32 * 32, "longest_edge": 256 * 256 * 64},
    }
    image = {"image_processor_type": "Qwen2VLImageProcessorFast", **shared}
    video = {"video_processor_type": "Qwen3VLVideoProcessor", "cap_pixels_per_frame": False, **shared}
    return {"preprocessor_config.json": image, "video_preprocessor_config.json": video}


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    end_tokens = [tokenizer.convert_tokens_to_ids(text) for text in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, eos_token_id=end_tokens, pad_token_id=tokenizer.pad_token_id
    )
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def make(directory: Path, seed: int, answers: Iterable[str] = ()) -> bool:
    """Builds the model. False if `directory` already holds it."""
    recipe, answers = directory / RECIPE, list(answers)
    wanted = json.dumps({"seed": seed, "version": MODEL_VERSION} | ({"answers": answers} if answers else {})) + "\n"
    if recipe.is_file() and recipe.read_text() == wanted:
        return False
    build_tiny_qwen3_vl(directory, seed, answers=answers)
    recipe.write_text(wanted)
    return True


def main() -> None:
    """Builds the model unless the directory already holds it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("outputs/quickstart/random"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all-kinds", action="store_true", help="with a tokenizer for every kind of question")
    arguments = parser.parse_args()
    built = make(arguments.directory, arguments.seed, texts_of_all_kinds() if arguments.all_kinds else ())
    print(f"model: {arguments.directory} ({'built' if built else 'already there, reused'})")


if __name__ == "__main__":
    main()
