# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A list of records that is read as prompts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import overload

from verl.config.data import DataConfig
from verl.config.plan import video_spec
from verl.data.prompts import OverlongPromptError, PromptBuilder
from verl.data.records import RowFormat, read_records
from verl.data.templates import Template
from verl.data.validate import AnswerCheck, RecordCheck
from verl.errors import DataError
from verl.media.source import MediaSource, SourceMode
from verl.models.adapter import ModelAdapter
from verl.types import Prompt, Record

logger = logging.getLogger(__name__)


class PromptDataset(Sequence[Prompt]):
    """Prompts by row number, each built when it is asked for."""

    def __init__(self, records: Sequence[Record], builder: PromptBuilder) -> None:
        self.records = records
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


def without_overlong(records: Sequence[Record], builder: PromptBuilder, workers: int) -> list[Record]:
    """The records whose prompts are short enough; how many are not is logged. Only video headers are read.

    Raises DataError when none is left, and whatever else keeps a prompt from being built.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="prompt-filter") as pool:
        keep = list(pool.map(lambda record: _fits(record, builder), records))
    kept = [record for record, fits in zip(records, keep, strict=True) if fits]
    if not kept:
        raise DataError(
            f"all {len(records)} prompts have more than data.max_prompt_length={builder.max_prompt_length} tokens"
        )
    if len(kept) < len(records):
        logger.warning(
            "%d of %d rows are left out: their prompts have more than %d tokens",
            len(records) - len(kept),
            len(records),
            builder.max_prompt_length,
        )
    return kept


def build_dataset(
    config: DataConfig, adapter: ModelAdapter, *, train: bool, check_answer: AnswerCheck | None = None
) -> PromptDataset:
    """The training or validation rows, checked. `check_answer` is the reward's opinion of a ground truth."""
    files = config.train_files if train else config.val_files
    records = read_records(files, RowFormat.of(config), RecordCheck(answer=check_answer))
    builder = PromptBuilder(
        model=adapter,
        template=Template(config.format_prompt),
        clips=media_source(config, adapter.align, train=train),
        max_prompt_length=config.max_prompt_length,
    )
    if config.filter_overlong_prompts:
        records = without_overlong(records, builder, config.filter_overlong_prompts_workers)
    return PromptDataset(records, builder)


def media_source(config: DataConfig, align: int, *, train: bool) -> MediaSource:
    """Where the clips of training or validation come from."""
    mode, folder = config.video_source_mode, config.preprocessed_video_dir
    if not train:
        mode = config.val_video_source_mode or mode
        folder = config.val_preprocessed_video_dir or folder
    return MediaSource(SourceMode(mode), folder, video_spec(config, align, train=train))


def _fits(record: Record, builder: PromptBuilder) -> bool:
    try:
        builder.build(record)
    except OverlongPromptError:
        return False
    return True
