# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A list of records that is read as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import overload

from verl.config.data import DataConfig
from verl.config.plan import image_spec, video_spec
from verl.data.checks import AnswerCheck, RecordCheck
from verl.data.lengths import fitting, measure
from verl.data.prompts import PromptBuilder
from verl.data.records import RowFormat, read_sources
from verl.data.templates import Template
from verl.media.image import ImageSource
from verl.media.source import MediaSource, SourceMode
from verl.models.adapter import ModelAdapter
from verl.types import Prompt, Record


class PromptDataset(Sequence[Prompt]):
    """Prompts by row number, each built when it is asked for."""

    def __init__(
        self, records: Sequence[Record], builder: PromptBuilder, source_sizes: tuple[int, ...] | None = None
    ) -> None:
        """`source_sizes`: how many of the records come from each source, in their order."""
        self.records = records
        self.source_sizes = (len(records),) if source_sizes is None else source_sizes
        self._builder = builder

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...

    @overload
    def __getitem__(self, index: slice) -> PromptDataset: ...

    def __getitem__(self, index: int | slice) -> Prompt | PromptDataset:
        if isinstance(index, slice):
            return PromptDataset(self.records[index], self._builder)
        return self._builder.build(self.records[index])


def build_dataset(
    config: DataConfig, adapter: ModelAdapter, *, train: bool, check_answer: AnswerCheck | None = None
) -> PromptDataset:
    """The training or validation rows, checked. `check_answer` is the reward's opinion of a ground truth.

    Raises DataError for bad rows, for media whose headers cannot be read, and for prompts that are too long unless
    those are to be left out.
    """
    files = config.train_files if train else config.val_files
    sources = read_sources(files, RowFormat.of(config), RecordCheck(answer=check_answer))
    builder = prompt_builder(config, adapter, train=train)
    records = [record for rows in sources for record in rows]
    lengths = measure(records, builder, config.filter_overlong_prompts_workers)
    fits = fitting(records, lengths, config.max_prompt_length, drop=config.filter_overlong_prompts)
    row = iter(fits)
    sizes = tuple(sum(next(row) for _ in source) for source in sources)
    return PromptDataset(list(compress(records, fits)), builder, sizes)


def prompt_builder(config: DataConfig, adapter: ModelAdapter, *, train: bool) -> PromptBuilder:
    """What turns training or validation rows into prompts."""
    return PromptBuilder(
        model=adapter,
        template=Template(config.format_prompt),
        videos=video_source(config, adapter.align, train=train),
        images=image_source(config, adapter.align, train=train),
        max_prompt_length=config.max_prompt_length,
    )


def video_source(config: DataConfig, align: int, *, train: bool) -> MediaSource:
    """Where the clips of training or validation come from."""
    mode, folder = config.video_source_mode, config.preprocessed_video_dir
    if not train:
        mode = config.val_video_source_mode or mode
        folder = config.val_preprocessed_video_dir or folder
    return MediaSource(SourceMode(mode), folder, video_spec(config, align, train=train))


def image_source(config: DataConfig, align: int, *, train: bool) -> ImageSource:
    """Where the images of training or validation come from."""
    return ImageSource(image_spec(config, align, train=train))
