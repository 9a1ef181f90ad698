# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Everything the trainer knows about a model family goes through here."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from verl.errors import ConfigError, DataError
from verl.models.flops import Flops, Work, forward_flops
from verl.models.patches import Patches
from verl.models.positions import continue_positions
from verl.models.segments import Segments
from verl.models.ulysses import Share, check_heads
from verl.registry import Registry, nearest
from verl.types import IMAGE_MARK, VIDEO_MARK, Grid, Kind, MediaClip, MediaMetadata, Tokens

Index: TypeAlias = NDArray[np.int64]

MARK = re.compile(f"({VIDEO_MARK}|{IMAGE_MARK})")
KINDS: dict[str, Kind] = {VIDEO_MARK: "video", IMAGE_MARK: "image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A prompt as it is trained on, and the media in it."""

    ids: Tokens  # [P]
    grids: tuple[Grid, ...]  # one per medium, in order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedRow:
    """Many sequences laid end to end, and what the vision features in them are."""

    ids: Tensor  # [N] int64
    positions: Tensor  # [A, N] int64
    segments: Segments
    media: tuple[Patches, ...]  # distinct clips: each goes through the vision tower once
    slots: tuple[int, ...]  # for every medium of the row, in order of appearance: its index in `media`
    visual_index: Tensor  # [visual tokens] int64, ascending: where in the row the features of the slots go
    share: Share | None = None  # where ranks share the row: then only `segments` is of the whole row

    def to(self, device: torch.device | str) -> PackedRow:
        """The same row on another device."""
        return PackedRow(
            ids=self.ids.to(device),
            positions=self.positions.to(device),
            segments=self.segments.to(device),
            media=tuple(patches.to(device) for patches in self.media),
            slots=self.slots,
            visual_index=self.visual_index.to(device),
            share=None if self.share is None else self.share.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A Hugging Face model folder, read."""

    path: str
    config: PretrainedConfig
    tokenizer: Any
    trust_remote_code: bool = False


class ModelAdapter(ABC):
    """One model family. The class attributes below are what a family must say about itself."""

    family: str  # HF model_type
    num_position_axes: ClassVar[int]  # A
    model_class: ClassVar[Any]  # transformers' Auto class that builds it
    scorer_class: ClassVar[Any] = AutoModelForSequenceClassification  # likewise, as a reward model
    reads_media: ClassVar[bool] = True
    renamed_on_save: ClassVar[bool] = True  # whether transformers saves weights as they are published, by itself
    align: int = 1  # frame height and width must be multiples of this
    patch_size: int = 1
    temporal_patch_size: int = 1
    merge_size: int = 1

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model_path = checkpoint.path
        self.config = checkpoint.config
        self.tokenizer = checkpoint.tokenizer
        self.trust_remote_code = checkpoint.trust_remote_code
        self.family = checkpoint.config.model_type
        self.eos_ids = _eos_ids(checkpoint)
        end = self.tokenizer.eos_token_id
        self.end_id: int = self.eos_ids[0] if end is None else end  # what ends a response that was not generated
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = self.eos_ids[0] if pad is None else pad
        self.banned_ids: tuple[int, ...] = ()  # never sampled

    # -- text

    def render(self, problem_text: str, num_videos: int, *, num_images: int = 0, system: str | None = None) -> str:
        """One user turn in the model's chat template, ready for the answer; each mark becomes its medium.

        Raises DataError when the text does not hold a `<video>` for every video and an `<image>` for every image.
        """
        for mark, count in ((VIDEO_MARK, num_videos), (IMAGE_MARK, num_images)):
            found = problem_text.count(mark)
            if found != count:
                raise DataError(f"the problem holds {found} {mark} marks for {count} {KINDS[mark]}s; they must match")
        messages = [{"role": "user", "content": self.content(problem_text)}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    @abstractmethod
    def content(self, problem_text: str) -> Any:
        """The user's message in the form the family's chat template reads."""

    def encode(self, text: str) -> Tokens:
        """Token ids of `text`; special tokens only where the text spells them."""
        return np.asarray(self.tokenizer.encode(text, add_special_tokens=False), dtype=np.int32)

    def decode(self, ids: Tokens, skip_special_tokens: bool = True) -> str:
        """The text of `ids`, spaces untouched."""
        return self.tokenizer.decode(
            ids.tolist(), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )

    # -- placeholders and positions

    @abstractmethod
    def grid(self, metadata: MediaMetadata) -> Grid:
        """Patches of a clip or an image. Raises AlignmentError when the frames cannot be cut evenly."""

    @abstractmethod
    def expand(self, collapsed: Tokens, media: Sequence[MediaMetadata]) -> Expanded:
        """One placeholder per medium -> one per vision feature, exactly as the rollout engine does it.

        Raises AlignmentError when the placeholders are not those of `media`, in this order.
        """

    @abstractmethod
    def visual_index(self, ids: Tokens, grids: Sequence[Grid]) -> Index:
        """Where features of `grids` go in an expanded prompt. Raises AlignmentError if they do not fit."""

    @abstractmethod
    def positions(self, ids: Tokens, media: Sequence[MediaMetadata]) -> Index:
        """Position ids [A, P] of an expanded prompt with `media` in it. Raises AlignmentError if they do not fit."""

    def continue_positions(self, positions: Index, num_tokens: int) -> Index:
        """Position ids [A, R] of a response to the prompt at `positions`. All of its tokens are text."""
        return continue_positions(positions, num_tokens)

    @abstractmethod
    def patches(self, clip: MediaClip) -> Patches:
        """A clip cut for the vision tower."""

    # -- the network

    def build(
        self,
        dtype: torch.dtype,
        *,
        override_config: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        meta: bool = False,
    ) -> PreTrainedModel:
        """The network in training mode, with segment attention, weights from the model folder.

        `meta`: no weights at all, parameters on the meta device; tables that no state dict holds are real.
        """
        transformers_logging.disable_progress_bar()  # every rank would draw one
        config = override(copy.deepcopy(self.config), override_config or {})
        options = {
            "dtype": dtype,
            "attn_implementation": self.attention(),
            "trust_remote_code": self.trust_remote_code,
        }
        if meta:
            with torch.device("meta"):
                model = self.model_class.from_config(config, **options)
            _restore_tables(model)
        else:
            model = self.model_class.from_pretrained(self.model_path, config=config, local_files_only=True, **options)
        model = self.prepare(model)
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model.train()

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """The network, whatever its head, ready for packed rows."""
        return model

    def as_published(self, name: str, weight: Tensor) -> Tensor:
        """A whole weight in memory -> as the hub has it and the rollout engine wants it. The name stays."""
        return weight

    def save(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write whole weights, by their names in memory, and the config as the hub has them."""
        published = {name: self.as_published(name, weight) for name, weight in weights.items()}
        shell = self.build(torch.float32, meta=True)
        shell.save_pretrained(folder, state_dict=published, save_original_format=self.renamed_on_save)

    @abstractmethod
    def attention(self) -> str | dict[str, str]:
        """`attn_implementation` for transformers; registers our own first."""

    @abstractmethod
    def hidden_states(self, model: PreTrainedModel, row: PackedRow) -> Tensor:
        """Hidden states [N, D] of a packed row, or of its slice. Each distinct clip goes through the tower once."""

    @abstractmethod
    def shard_units(self, model: PreTrainedModel) -> list[nn.Module]:
        """Blocks to shard one by one."""

    def vision_tower(self, model: PreTrainedModel) -> nn.Module | None:
        """The part that sees, with its mergers."""
        return None

    def mergers(self, model: PreTrainedModel) -> list[nn.Module]:
        """Parts of the vision tower that make its features into embeddings of the language model."""
        tower = self.vision_tower(model)
        return [] if tower is None else [part for name, part in tower.named_children() if "merger" in name]

    def check_sequence(self, size: int) -> None:
        """Whether `size` ranks can share a row. Raises ConfigError."""
        check_heads(self.config.get_text_config().num_attention_heads, size)

    def flops(self, row: PackedRow, num_targets: int) -> Flops:
        """Operations of a forward pass over `row` that ends in logits for `num_targets` tokens; this rank's share."""
        grids = tuple(patches.grid for patches in row.media)
        segments = row.segments
        work = Work(tokens=segments.num_tokens, pairs=segments.num_pairs, targets=num_targets, media=grids)
        flops = forward_flops(self.config, work)
        return flops if row.share is None else flops.with_decoder_over(row.share.group.size)

    def head(self, model: PreTrainedModel) -> Tensor:
        """Output projection [V, D]."""
        return model.get_output_embeddings().weight


ADAPTERS: Registry[type[ModelAdapter]] = Registry("model type", "verl.models")


def load_adapter(
    model_path: str,
    *,
    tokenizer_path: str | None = None,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
    template_key: str = "data.override_chat_template",
) -> ModelAdapter:
    """The adapter for the model folder at `model_path`. The file `chat_template`, which comes from the configuration's
    `template_key`, replaces the folder's own.

    Never downloads. Raises ConfigError when the folder cannot be read or no adapter knows its model type.
    """
    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(model_path, **options)
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_path or model_path, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read a model from {model_path!r}; give a Hugging Face folder: {error}") from error
    if chat_template is not None:
        tokenizer.chat_template = _read_template(chat_template, template_key)
    if tokenizer.chat_template is None:
        raise ConfigError(f"the tokenizer of {model_path!r} has no chat template; set {template_key}")
    checkpoint = Checkpoint(path=model_path, config=config, tokenizer=tokenizer, trust_remote_code=trust_remote_code)
    return ADAPTERS[config.model_type](checkpoint)


def local_folder(name: str, key: str = "worker.actor.model.model_path") -> str:
    """The folder of a model: `name` itself, or where the Hugging Face cache keeps the hub's model of that name.

    Never downloads. Raises ConfigError, which names the configuration `key`, when it is neither.
    """
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    try:
        return snapshot_download(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}={name} is neither a folder nor a model in the Hugging Face cache;"
            f" correct it, or run: hf download {name}"
        ) from error


def override(config: PretrainedConfig, values: Mapping[str, Any]) -> PretrainedConfig:
    """`config` with `values` set on it: nested ones on its parts, what only its text part has on that.

    Raises ConfigError for unknown keys.
    """
    for key, value in values.items():
        owner = next((part for part in (config, config.get_text_config()) if hasattr(part, key)), None)
        if owner is None:
            known = nearest(key, config.to_dict())
            raise ConfigError(f"override_config: {type(config).__name__} has no key {key!r}{known}")
        part = getattr(owner, key)
        if isinstance(part, PretrainedConfig):
            override(part, value)
        else:
            setattr(owner, key, value)
    return config


def _read_template(path: str, key: str) -> str:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{key}: there is no file {file}")
    return file.read_text(encoding="utf-8")


def _eos_ids(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Tokens that end a response: the generation config's, as for the rollout engine, and the tokenizer's."""
    try:
        ids = GenerationConfig.from_pretrained(checkpoint.path, local_files_only=True).eos_token_id
    except OSError:
        ids = checkpoint.config.get_text_config().eos_token_id
    ids = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
    own = checkpoint.tokenizer.eos_token_id
    known = dict.fromkeys([*ids, *([] if own is None else [own])])
    if not known:
        raise ConfigError(f"{checkpoint.path!r} names no end-of-sequence token; set eos_token_id in its config")
    return tuple(known)


def _restore_tables(model: nn.Module) -> None:
    """Compute again what modules derive from their config and no state dict holds: rotary frequencies."""
    for module in model.modules():
        names = module._non_persistent_buffers_set
        if names:
            fresh = type(module)(module.config)
            for name in names:
                module.register_buffer(name, getattr(fresh, name), persistent=False)
