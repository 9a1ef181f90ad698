# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where a response ends, by public implementations from tests/vectors and by us.

They pad responses to one length and look for the end afterwards; here a response has its length from whoever wrote it.
The engine ends one at the first end-of-sequence token, of which there may be several kinds
(tests/integration/test_rollout_engine.py asks vLLM itself). `OfflineReader` holds texts from the data to the same rule.
All tokens of a response count: nothing on the way to the loss looks for an end again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.numerics.published import Case, cases, each
from tests.rows import prompt, record, trajectory
from verl.data.offline import OfflineReader
from verl.errors import DataError
from verl.fsdp.packing import MicroBatch
from verl.trainer.experience import _token_rewards
from verl.trainer.offline import Mixing, replaced
from verl.types import Score, Scored, Source, Tokens

Ids = list[int]
ENDS = cases("responses", "response_mask/")
MIXED = cases("off_policy", "mix_policy/")


class Numbers:
    """A text is its token ids."""

    def __init__(self, eos: int | Ids) -> None:
        self.eos_ids = (eos,) if isinstance(eos, int) else tuple(eos)
        self.end_id = self.eos_ids[0]

    def encode(self, text: str) -> Tokens:
        return np.array(text.split(), dtype=np.int32)

    def decode(self, ids: Tokens, skip_special_tokens: bool = True) -> str:
        return " ".join(str(token) for token in ids if token not in self.eos_ids or not skip_special_tokens)


def scored(row: Ids, group: int, index: int, *, accuracy: float = 1.0) -> Scored:
    ids = np.array(row, dtype=np.int32)
    written = replace(trajectory(group, index), response_ids=ids, rollout_logprobs=np.zeros(len(ids), np.float32))
    return Scored(trajectory=written, verdict=Score(overall=accuracy, parts={"accuracy": accuracy}))


def masks(rows: list[Scored], width: int) -> list[Tensor]:
    """What counts for advantages, on the driver, and for losses, in a micro-batch; [B, width] each."""
    lengths = tuple(len(row.trajectory.response_ids) for row in rows)
    none: Any = None
    packed = MicroBatch(
        row=none, select=none, targets=torch.zeros(1), row_lengths=lengths, order=tuple(range(len(rows)))
    )
    return [torch.nn.functional.pad(mask, (0, width - max(lengths))) for mask in (_token_rewards(rows)[0], packed.mask)]


def ends(case: Case) -> tuple[OfflineReader, list[tuple[Ids, int]]]:
    """A reader with the end-of-sequence tokens of the case; its padded rows and the length that they have there."""
    padded = case.integers("response_ids")
    lengths = [sum(row) for row in case.expected["mask"]]
    reader = OfflineReader(model=Numbers(case.params["eos"]), max_tokens=len(padded[0]))
    return reader, list(zip(padded, lengths, strict=True))


@each(ENDS)
def test_what_counts_is_the_response_up_to_its_end(case: Case) -> None:
    _, found = ends(case)
    rows = [scored(row[:length], number, 0) for number, (row, length) in enumerate(found)]
    for mask in masks(rows, len(found[0][0])):
        assert mask.int().tolist() == case.expected["mask"]


@each(ENDS)
def test_the_same_rule_holds_for_a_text_from_the_data(case: Case) -> None:
    """What goes on after its end is refused; one without an end gets it, or is cut where there is no room for it."""
    reader, found = ends(case)
    for row, length in found:
        text = record(offline_responses=(" ".join(map(str, row[:length])),))
        if row[length - 1] in reader.model.eos_ids:
            (written,) = reader.read(text)
            assert written.ids.tolist() == row[:length] and not written.truncated
        else:
            assert length == len(row) and reader.read(text) == []
            (cut,) = replace(reader, truncate=True).read(text)
            assert cut.ids.tolist() == row and cut.truncated
        if length < len(row):
            with pytest.raises(DataError, match="goes on after an end-of-sequence token"):
                reader.read(record(offline_responses=(" ".join(map(str, row)),)))


# Responses from the data ----------------------------------------------------------------------------------


def mixed(case: Case, *, truncate: bool = False) -> list[Scored]:
    """The groups of the case after responses from the data took their places; generated ones end at their end."""
    params, size = case.params, case.params["n"]
    generated = [row[: row.index(params["eos"][0]) + 1] for row in case.integers("responses")]
    reader = OfflineReader(model=Numbers(params["eos"]), max_tokens=5, truncate=truncate)
    mixing = Mixing(reader=reader, group_size=size, threshold=0.5)
    prompts = [prompt(f"r{at}", offline_responses=(text,)) for at, text in enumerate(params["offline_output"])]
    found = []
    for number, offline in enumerate(mixing.candidates(prompts, step=0)):
        accuracy = 0.0 if params["replace"][number] else 1.0
        group = [scored(generated[size * number + at], number, at, accuracy=accuracy) for at in range(size)]
        assert mixing.wants(group) is params["replace"][number]
        verdict = Score(overall=1.0, parts={"accuracy": 1.0})
        own = [Scored(trajectory=one, verdict=verdict) for one in offline]
        found += replaced(group, own) if mixing.wants(group) else group
    return found


def shown(rows: list[Scored]) -> dict[str, list[Ids]]:
    """As the references show them: padded with 0, and what counts."""
    padded = [[*row.trajectory.response_ids.tolist(), 0, 0, 0, 0, 0][:5] for row in rows]
    (mask, same) = masks(rows, 5)
    assert torch.equal(mask, same)
    return {"responses": padded, "response_mask": mask.int().tolist()}


def offline(rows: list[Scored]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.trajectory.source is Source.OFFLINE]


@each({name: case for name, case in MIXED.items() if "replace_last_eos_in_text" in name})
def test_the_last_response_of_a_group_gives_way_to_one_that_ends(case: Case) -> None:
    rows = mixed(case)
    assert shown(rows) == {name: case.expected[name] for name in ("responses", "response_mask")}
    assert offline(rows) == [1] and case.expected["replaced"] == 1


@each({name: case for name, case in MIXED.items() if "no_eos_pad_not_eos" in name})
def test_a_response_without_an_end_gets_one_where_easyvideor1_trains_on_its_padding(case: Case) -> None:
    theirs, ours = case.expected, shown(mixed(case))
    assert theirs["responses"][1] == [21, 22, 23, 0, 0] and theirs["response_mask"][1] == [1, 1, 1, 1, 1]
    assert ours["responses"][1] == [21, 22, 23, 2, 0] and ours["response_mask"][1] == [1, 1, 1, 1, 0]
    for name, rows in ours.items():
        assert rows[:1] + rows[2:] == theirs[name][:1] + theirs[name][2:]


@each({name: case for name, case in MIXED.items() if "offline_longer_than_response" in name})
def test_a_response_that_is_too_long_is_left_out_or_cut_where_easyvideor1_stops(case: Case) -> None:
    assert "must match the existing size (7)" in case.expected["raises"]
    left_out, cut = mixed(case), mixed(case, truncate=True)
    assert offline(left_out) == [] and shown(left_out)["responses"] == case.integers("responses")
    assert offline(cut) == [1] and cut[1].trajectory.truncated
    assert shown(cut)["responses"][1] == [1, 3, 4, 5, 6] and shown(cut)["response_mask"][1] == [1, 1, 1, 1, 1]
