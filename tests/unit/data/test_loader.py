# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
import threading
import time
from typing import Any, cast

import pytest

from verl.config.load import load
from verl.data.loader import PromptLoader, build_loader
from verl.data.order import Order
from verl.errors import CheckpointError, DataError
from verl.types import Prompt, Record


class FakeDataset:
    """Rows are their own prompts. Odd rows are slow; `broken` ones raise."""

    def __init__(self, size: int, broken: frozenset[int] = frozenset(), name: str = "r") -> None:
        self.records = [
            Record(id=str(i), where=f"{name}:{i}", problem="?", answer=1, problem_type="", data_type="text")
            for i in range(size)
        ]
        self.broken = broken
        self.asked: list[int] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> Prompt:
        with self._lock:
            self.asked.append(row)
        if row in self.broken:
            raise ValueError("cannot")
        time.sleep(0.002 * (row % 2))
        return cast(Prompt, row)


def loader(size: int, batch: int, *, shuffle: bool = True, seed: int = 1, **options: Any) -> PromptLoader:
    dataset = options.pop("dataset", None) or FakeDataset(size)
    return PromptLoader(dataset, batch, Order(size=size, shuffle=shuffle, seed=seed), workers=3, **options)


def draw(source: PromptLoader, batches: int) -> list[list[Any]]:
    return [list(source.next()) for _ in range(batches)]


def rows(source: PromptLoader, batches: int) -> list[Any]:
    return [row for batch in draw(source, batches) for row in batch]


def test_rows_come_in_file_order_without_shuffling():
    assert draw(loader(6, 2, shuffle=False), 4) == [[0, 1], [2, 3], [4, 5], [0, 1]]


def test_an_epoch_draws_every_row_once_and_the_next_in_another_order():
    source = loader(12, 4)
    first, second = (rows(source, 3) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second != list(range(12))


def test_the_order_depends_on_seed_and_epoch_alone():
    assert draw(loader(10, 3), 7) == draw(loader(10, 3), 7)
    assert draw(loader(10, 3), 7) != draw(loader(10, 3, seed=2), 7)
    assert rows(loader(12, 6), 4) == rows(loader(12, 4), 6)


def test_the_order_of_a_seed_never_changes():
    assert Order(size=8, shuffle=True, seed=1).of(0) == [5, 1, 2, 6, 7, 4, 3, 0]


def test_every_row_is_equally_likely_to_come_first():
    firsts = [Order(size=4, shuffle=True, seed=seed).of(0)[0] for seed in range(800)]
    assert all(140 < firsts.count(row) < 260 for row in range(4))


def test_an_incomplete_last_batch_is_left_out_or_delivered():
    assert draw(loader(5, 2, shuffle=False), 3) == [[0, 1], [2, 3], [0, 1]]
    assert draw(loader(5, 2, shuffle=False, drop_last=False), 4) == [[0, 1], [2, 3], [4], [0, 1]]


def test_the_epoch_is_that_of_the_next_batch():
    source = loader(5, 2)
    epochs = [source.epoch]
    for _ in range(4):
        source.next()
        epochs.append(source.epoch)
    assert epochs == [0, 0, 1, 1, 2]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match="3 rows do not fill one batch of 4"):
        loader(3, 4)
    assert draw(loader(3, 4, shuffle=False, drop_last=False), 2) == [[0, 1, 2]] * 2
    with pytest.raises(DataError):
        loader(0, 4, drop_last=False)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("drawn", range(7))
def test_a_restored_loader_goes_on_exactly_where_the_other_stood(drawn: int, drop_last: bool):
    source = loader(7, 2, drop_last=drop_last)
    draw(source, drawn)
    state = json.loads(json.dumps(source.state()))
    expected = draw(source, 9)
    other = loader(7, 2, drop_last=drop_last)
    draw(other, 2)
    other.restore(state)
    assert draw(other, 9) == expected


def test_a_place_survives_another_batch_size():
    source = loader(12, 3)
    drawn = rows(source, 2)
    other = loader(12, 2)
    other.restore(source.state())
    assert sorted(drawn + rows(other, 3)) == list(range(12))


@pytest.mark.parametrize(
    "other",
    [
        lambda: loader(7, 2, seed=2),
        lambda: loader(7, 2, shuffle=False),
        lambda: loader(8, 2),
        lambda: loader(7, 2, dataset=FakeDataset(7, name="other")),
    ],
)
def test_a_place_in_other_data_or_another_order_is_refused(other):
    with pytest.raises(CheckpointError, match="belongs to other rows"):
        other().restore(loader(7, 2).state())


def test_the_next_batch_is_prepared_ahead_and_nothing_twice():
    dataset = FakeDataset(8)
    source = loader(8, 2, shuffle=False, dataset=dataset)
    assert source.next() == [0, 1]
    source.close()
    assert sorted(dataset.asked) == sorted(set(dataset.asked)) and set(dataset.asked) <= {0, 1, 2, 3}
    dataset = FakeDataset(8)
    source = loader(8, 2, shuffle=False, dataset=dataset)
    draw(source, 3)
    assert [dataset.asked.count(row) for row in range(6)] == [1] * 6


def test_an_error_names_the_row_and_keeps_the_place():
    dataset = FakeDataset(6, broken=frozenset({3}))
    source = loader(6, 2, shuffle=False, dataset=dataset)
    source.next()
    before = source.state()
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot") as error:
            source.next()
        assert error.value.__notes__ == ["while preparing r:3"]
        assert source.state() == before
    dataset.broken = frozenset()
    assert draw(source, 2) == [[2, 3], [4, 5]]


def test_the_loader_follows_the_configuration():
    config = load(["data.rollout_batch_size=2", "data.shuffle=false", "data.dataloader_workers=1"]).data
    source = build_loader(config, FakeDataset(4))  # type: ignore[arg-type]
    assert draw(source, 3) == [[0, 1], [2, 3], [0, 1]]
