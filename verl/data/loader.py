# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of prompts without end, in an order that a resumed run finds again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from verl.config.data import DataConfig
from verl.data.dataset import PromptDataset
from verl.data.order import DrawOrder, MixedOrder, Order
from verl.errors import CheckpointError, DataError
from verl.types import Prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch starts: rows drawn in this epoch so far."""

    epoch: int
    position: int


class PromptLoader:
    """Draws batches over and over. Threads prepare the next batch while this one is used."""

    def __init__(
        self, dataset: PromptDataset, batch_size: int, order: DrawOrder, *, workers: int = 4, drop_last: bool = True
    ) -> None:
        """`drop_last` leaves out the incomplete last batch of an epoch.

        Raises DataError when that would leave out everything.
        """
        if len(dataset) < (batch_size if drop_last else 1):
            raise DataError(
                f"{len(dataset)} rows do not fill one batch of {batch_size}; lower data.rollout_batch_size or add rows"
            )
        left_out = len(dataset) % batch_size if drop_last else 0
        if left_out:
            logger.warning("%d of %d rows are left out in each epoch: no full batch", left_out, len(dataset))
        self.dataset = dataset
        self._batch_size = batch_size
        self._order = order
        self._drop_last = drop_last
        self._place = Place(0, 0)
        self._rows: tuple[int, list[int]] = (-1, [])  # the epoch whose order is at hand
        self._places: dict[int, int] = {}  # row by identity of its record, filled when first asked for
        self._ahead: dict[Place, list[Future[Prompt]]] = {}
        self._fingerprint = _fingerprint(dataset, order)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prompts")

    @property
    def epoch(self) -> int:
        """Epoch of the next batch, from 0."""
        return self._place.epoch

    def next(self) -> list[Prompt]:
        """The next batch. When a prompt cannot be built its error is raised, and the place is kept."""
        place = self._place
        following = self._after(place)
        prompts = self._ahead.pop(place, None) or self._prepare(place)
        if following not in self._ahead:
            self._ahead[following] = self._prepare(following)
        batch = [prompt.result() for prompt in prompts]
        self._place = following
        return batch

    def row_of(self, prompt: Prompt) -> int:
        """Which row of the data a prompt was drawn from; `prompt_of` finds it again, in a resumed run too."""
        if not self._places:
            self._places.update((id(record), row) for row, record in enumerate(self.dataset.records))
        return self._places[id(prompt.record)]

    def prompt_of(self, row: int) -> Prompt:
        """The prompt of a row of the data."""
        return self._build(row)

    def state(self) -> dict[str, Any]:
        """The place, and what it is a place in, as JSON values."""
        return {
            "epoch": self._place.epoch,
            "position": self._place.position,
            "fingerprint": self._fingerprint,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Raises CheckpointError when it belongs to other rows or another order."""
        if state.get("fingerprint") != self._fingerprint:
            raise CheckpointError(
                "the checkpoint's place in the data belongs to other rows, or to another data.seed, data.shuffle or"
                f" data.mix_ratios: {state.get('fingerprint')}, now {self._fingerprint}; restore those, or start"
                " anew with trainer.find_last_checkpoint=false"
            )
        self._forget()
        self._place = self._normal(Place(int(state["epoch"]), int(state["position"])))

    def close(self) -> None:
        """Stop preparing."""
        self._forget()
        self._pool.shutdown(cancel_futures=True)

    def _prepare(self, place: Place) -> list[Future[Prompt]]:
        if self._rows[0] != place.epoch:
            self._rows = (place.epoch, self._order.of(place.epoch))
        rows = self._rows[1][place.position : place.position + self._batch_size]
        return [self._pool.submit(self._build, row) for row in rows]

    def _build(self, row: int) -> Prompt:
        try:
            return self.dataset[row]
        except Exception as error:
            error.add_note(f"while preparing {self.dataset.records[row].where}")
            raise

    def _after(self, place: Place) -> Place:
        return self._normal(Place(place.epoch, place.position + self._batch_size))

    def _normal(self, place: Place) -> Place:
        """The same place, or the start of the next epoch when no batch is left in this one."""
        left = len(self.dataset) - place.position
        return place if left >= (self._batch_size if self._drop_last else 1) else Place(place.epoch + 1, 0)

    def _forget(self) -> None:
        for prompts in self._ahead.values():
            for prompt in prompts:
                prompt.cancel()
        self._ahead.clear()


def _fingerprint(dataset: PromptDataset, order: DrawOrder) -> str:
    rows = hashlib.blake2b(digest_size=8)
    for record in dataset.records:
        rows.update(f"{record.where}\n{record.problem}\n".encode())
    return f"{len(dataset)} rows {rows.hexdigest()}, {order.name}"


def build_loader(config: DataConfig, dataset: PromptDataset) -> PromptLoader:
    """The loader of training batches."""
    order = _mixed(config, dataset) if config.mix_ratios else _plain(config, dataset)
    size = config.mini_rollout_batch_size or config.rollout_batch_size
    return PromptLoader(dataset, size, order, workers=config.dataloader_workers)


def _plain(config: DataConfig, dataset: PromptDataset) -> DrawOrder:
    return Order(size=len(dataset), shuffle=config.shuffle, seed=config.seed)


def _mixed(config: DataConfig, dataset: PromptDataset) -> DrawOrder:
    sizes = dataset.source_sizes
    order = MixedOrder(sizes=sizes, ratios=config.mix_ratios, shuffle=config.shuffle, seed=config.seed)
    for location, size, draws in zip(config.train_files, sizes, order.draws, strict=True):
        logger.info("%s: %d rows, %d draws in an epoch (%.2f passes)", location, size, draws, draws / size)
    return order
