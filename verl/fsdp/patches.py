# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Patches of the clips of a step, made once per worker and kept within a bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from verl.models.adapter import ModelAdapter
from verl.models.patches import Patches
from verl.tracking.metrics import Mean, Metrics
from verl.types import MediaClip, MediaRef


class Reader(Protocol):
    """Where clips come from; `verl.media.source.ClipReader` is one."""

    @property
    def opens(self) -> int:
        """Loads since the last clear."""

    @property
    def distinct(self) -> int:
        """Clips among them."""

    def load(self, ref: MediaRef) -> MediaClip:
        """Frames of one clip."""

    def clear(self) -> None:
        """Forget clips and counts."""


class PatchCache:
    """Least recently used patches go first when more than `max_bytes` are held; one clip is always held."""

    def __init__(self, reader: Reader, adapter: ModelAdapter, max_bytes: int) -> None:
        self._reader = reader
        self._adapter = adapter
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Patches] = OrderedDict()
        self._num_bytes = 0

    def get(self, ref: MediaRef) -> Patches:
        """What the vision tower reads for one clip."""
        if ref.key in self._held:
            self._held.move_to_end(ref.key)
            return self._held[ref.key]
        patches = self._adapter.patches(self._reader.load(ref))
        self._held[ref.key] = patches
        self._num_bytes += patches.values.nbytes
        while self._num_bytes > self._max_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._num_bytes -= dropped.values.nbytes
        return patches

    @property
    def num_bytes(self) -> int:
        """Bytes held now."""
        return self._num_bytes

    def end_step(self) -> Metrics:
        """Forget everything; how often each clip was read from its file."""
        metrics: Metrics = {"media/loads_per_clip": Mean(self._reader.opens, self._reader.distinct)}
        self._held.clear()
        self._num_bytes = 0
        self._reader.clear()
        return metrics
