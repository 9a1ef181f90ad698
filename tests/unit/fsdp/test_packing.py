# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import rows, world
from tests.policy_world import FAR, World
from verl.errors import AlignmentError, ConfigError, DataError, MediaError
from verl.fsdp.packing import plan
from verl.models.adapter import ModelAdapter, load_adapter
from verl.types import MediaRef, Trajectory, VideoClip


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> ModelAdapter:
    return load_adapter(str(world.tiny_model(tmp_path_factory.mktemp("packing") / "model")))


@st.composite
def some_rows(draw: st.DrawFn) -> list[Trajectory]:
    groups = draw(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), max_size=8))
    found = [
        rows.trajectory(group, index, of=prompt, num_tokens=length)
        for group, lengths in enumerate(groups)
        for prompt in [rows.prompt(f"r{group}", num_tokens=5 + group)]
        for index, length in enumerate(lengths)
    ]
    return draw(st.permutations(found))


@given(some_rows(), st.integers(45, 200), st.booleans())
def test_every_row_is_packed_once_and_no_micro_batch_exceeds_the_budget(
    found: list[Trajectory], budget: int, shared: bool
) -> None:
    bins = plan(found, budget, shared_prompt=shared)
    assert sorted(place for bin_ in bins for bundle in bin_ for place in bundle) == list(range(len(found)))
    for bin_ in bins:
        cost = sum(
            len(found[bundle[0]].prompt.ids) + sum(len(found[place].response_ids) for place in bundle)
            for bundle in bin_
        )
        assert cost <= budget
        for bundle in bin_:
            assert len({found[place].group for place in bundle}) == 1
            assert shared or len(bundle) == 1


def test_siblings_share_one_prompt_when_they_fit() -> None:
    found = [rows.trajectory(0, index, num_tokens=3) for index in range(4)]
    assert plan(found, 17, shared_prompt=True) == [((0, 1, 2, 3),)]
    assert len(plan(found, 16, shared_prompt=True)) == 2


def test_the_same_question_about_another_clip_is_not_a_sibling(adapter: ModelAdapter) -> None:
    made = World(adapter)
    found = [made.rows(made.prompt("what?", made.clip(key)), 0, [3])[0] for key in ("a", "b")]
    assert plan(found, FAR, shared_prompt=True) == [((0,), (1,))]


def test_a_row_beyond_the_budget_names_the_key_and_the_numbers() -> None:
    found = [rows.trajectory(0, 1, of=rows.prompt("r", num_tokens=5), num_tokens=7)]
    with pytest.raises(ConfigError, match=r"5 \+ 7 = 12 tokens.* is 11; raise worker\.actor\.max_token_len_per_gpu"):
        plan(found, 11, shared_prompt=True)


def test_an_empty_response_is_refused() -> None:
    with pytest.raises(DataError, match=r"response 2 to .* is empty"):
        plan([rows.trajectory(0, 2, num_tokens=0)], 100, shared_prompt=True)


@pytest.mark.parametrize("shared", [True, False])
def test_every_response_is_predicted_from_the_token_before_it(adapter: ModelAdapter, shared: bool) -> None:
    made = World(adapter, shared_prompt=shared)
    found = [
        *made.rows(made.prompt("one", made.clip("a"), made.clip("b"), made.clip("a")), 0, [4, 1]),
        *made.rows(made.prompt("two"), 1, [3]),
    ]
    (bin_,) = made.packer.plan(found, FAR)
    batch = made.packer.pack(found, bin_)
    ids, select = batch.row.ids, batch.select.split(batch.row_lengths)
    for place, chosen, target in zip(batch.order, select, batch.targets.split(batch.row_lengths), strict=True):
        prompt, response = found[place].prompt, torch.from_numpy(found[place].response_ids)
        assert torch.equal(target, response.long())
        assert torch.equal(ids[chosen[1:]], response[:-1].long())
        end = int(chosen[0]) + 1
        assert torch.equal(ids[end - len(prompt.ids) : end], torch.from_numpy(prompt.ids).long())
        positions = adapter.positions(prompt.ids, [ref.metadata for ref in prompt.media])
        following = torch.from_numpy(adapter.continue_positions(positions, len(response)))
        assert torch.equal(batch.row.positions[:, chosen[1:]], following[:, :-1])
    assert len(batch.row.media) == 2
    copies = 1 if shared else 2
    assert batch.row.slots == (0, 1, 0) * copies
    assert (
        len(ids)
        == batch.row.segments.num_tokens
        == sum(len(found[i].prompt.ids) for i in (0, 2)) + 8 + (0 if shared else len(found[0].prompt.ids))
    )


def test_a_sampled_placeholder_token_stays_text(adapter: ModelAdapter) -> None:
    made = World(adapter)
    (row,) = made.rows(made.prompt("one", made.clip("a")), 0, [4])
    odd = replace(row, response_ids=np.full(4, adapter.config.video_token_id, np.int32))
    plain, sampled = (made.packer.pack([r], ((0,),)) for r in (row, odd))
    assert torch.equal(plain.row.visual_index, sampled.row.visual_index)
    assert torch.equal(plain.row.positions, sampled.row.positions)


def test_streams_are_padded_in_packed_order_and_checked(adapter: ModelAdapter) -> None:
    made = World(adapter)
    found = [*made.rows(made.prompt("short"), 0, [2]), *made.rows(made.prompt("a longer prompt"), 1, [3])]
    batch = made.packer.pack(found, made.packer.plan(found, FAR)[0])
    assert batch.order == (1, 0)
    values = [np.array([1, 2], np.float32), np.array([3, 4, 5], np.float32)]
    assert batch.stream(values).tolist() == [[3, 4, 5], [1, 2, 0]]
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    with pytest.raises(DataError, match="rows and values are mixed up"):
        batch.stream(values[::-1])


def test_a_filler_has_no_weight(adapter: ModelAdapter) -> None:
    filler = World(adapter).packer.filler()
    assert filler.order == () and not filler.mask.any()
    assert filler.stream([]).tolist() == [[0.0]]


def test_a_clip_that_changed_since_the_prompt_was_made_is_fatal(adapter: ModelAdapter) -> None:
    made = World(adapter)
    found = made.rows(made.prompt("one", made.clip("a")), 0, [2])
    made.clip("a", frames=8)
    with pytest.raises(AlignmentError, match=r"expanded for Grid\(t=2.* a\.mp4 gives Grid\(t=4"):
        made.packer.pack(found, ((0,),))


@pytest.mark.parametrize("kind", ["clip", "image"])
def test_a_row_with_a_placeholder_too_few_is_named_though_another_has_one_too_many(
    adapter: ModelAdapter, kind: str
) -> None:
    """Placeholders and features of the whole micro-batch are equal in number: the count must be row by row."""
    made = World(adapter)
    good = made.prompt("good", made.image("i"), made.clip("v"))
    short, long = (made.prompt(name, getattr(made, kind)(name)) for name in ("short", "long"))
    place = int(adapter.visual_index(short.ids, short.grids)[0])
    short = replace(short, ids=np.delete(short.ids, place))
    long = replace(long, ids=np.insert(long.ids, place, long.ids[place]))
    found = [made.rows(prompt, group, [2])[0] for group, prompt in enumerate((good, short, long))]
    with pytest.raises(AlignmentError, match=r"^test:short: the prompt holds \d+ placeholders for \d+ vision features"):
        made.packer.pack(found, ((0,), (1,), (2,)))


def test_the_size_of_a_micro_batch_is_told_before_it_is_made(adapter: ModelAdapter) -> None:
    made = World(adapter)
    first, second = made.clip("a"), made.clip("b", frames=3)
    found = [
        *made.rows(made.prompt("one", first, second, first), 0, [4, 1]),
        *made.rows(made.prompt("two", second), 1, [3]),
        *made.rows(made.prompt("three"), 2, [3]),
    ]
    (bin_,) = made.packer.plan(found, FAR)
    told = made.packer.num_bytes(found, bin_)
    assert made.reader.opens == 0
    assert told == sum(patches.values.nbytes for patches in made.packer.pack(found, bin_).row.media) > 0


def test_a_clip_that_cannot_be_read_is_told_with_its_record(adapter: ModelAdapter) -> None:
    made = World(adapter)
    found = made.rows(made.prompt("one", made.clip("a")), 0, [2])

    def fail(ref: MediaRef) -> VideoClip:
        raise MediaError(f"{ref.path} is truncated")

    made.reader.load = fail
    with pytest.raises(MediaError, match=r"^test:one: a\.mp4 is truncated$"):
        made.packer.pack(found, ((0,),))


def test_patches_are_made_once_and_held_within_the_bound(adapter: ModelAdapter) -> None:
    size = 2 * 4 * 4 * (3 * 2 * 16 * 16)  # moments, rows and columns of patches, bytes in each
    made = World(adapter, max_bytes=2 * size)
    clips = [made.clip(key) for key in "abc"]
    for clip in (clips[0], clips[1], clips[0], clips[2]):
        made.patches.get(clip)
    assert made.patches.num_bytes == 2 * size
    assert made.reader.opens == 3
    made.patches.get(clips[0])  # the most recent but one is still held
    assert made.reader.opens == 3
    made.patches.get(clips[1])
    assert made.patches.end_step()["media/loads_per_clip"].value == pytest.approx(4 / 3)
    assert made.patches.num_bytes == 0
