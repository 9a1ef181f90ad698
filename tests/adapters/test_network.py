# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A packed row gives what transformers' own code gives to one response at a time, gradients included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from tests.adapters.conftest import Library
from tests.adapters.families import Family
from tests.adapters.media import EXCERPT, LONG, ODD, STEADY, TALL, WIDE, Asked, Question, ask, processed
from tests.adapters.prompts import prompt_of
from tests.policy_world import FAR, MemoryReader
from verl.errors import AlignmentError
from verl.fsdp.forward import token_logprobs
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.sampling import Sampling
from verl.models.adapter import ModelAdapter
from verl.types import MediaClip, Tokens, Trajectory

SEEING = (
    (Question("odd, steady", "<video> or <video>", (ODD, STEADY)), ("The first<|im_end|>", "second, I think", "B")),
    (Question("text", "Two plus two?"), ("Four<|im_end|>", "5")),
    (Question("all", "Is <image> in <video>, or <image>?", (TALL, ODD, WIDE)), ("Yes, it is.<|im_end|>", "No")),
    (Question("long", "What moves? <video>", (LONG,)), ("A square<|im_end|>", "Nothing at all.")),
)
READING = (SEEING[1], (Question("text", "Name a colour."), ("Red, or blue<|im_end|>", "Green", "none")))
PACKINGS = {"shared": True, "plain": False}


@dataclass(frozen=True)
class Row:
    """A response to a question."""

    asked: Asked
    response: Tokens


class Batch:
    """Rows about shared media, ready to be packed."""

    def __init__(self, adapter: ModelAdapter, groups: Sequence[tuple[Question, Sequence[str]]]) -> None:
        self.adapter = adapter
        self.rows: list[Row] = []
        self.trajectories: list[Trajectory] = []
        self._reader = MemoryReader()
        made: dict[Any, MediaClip] = {}
        for place, (question, responses) in enumerate(groups):
            asked = ask(adapter, question, made)
            prompt = prompt_of(adapter, asked)
            for ref, medium in zip(prompt.media, asked.media, strict=True):
                self._reader.clips[ref.key] = medium  # type: ignore[assignment]
            for index, text in enumerate(responses):
                row = Row(asked, adapter.encode(text))
                self.rows.append(row)
                numbers = np.zeros(len(row.response), np.float32)
                self.trajectories.append(
                    Trajectory(
                        prompt=prompt,
                        group=place,
                        index=index,
                        response_ids=row.response,
                        rollout_logprobs=numbers,
                        text=text,
                        truncated=False,
                    )
                )

    def pack(self, *, shared: bool = True) -> MicroBatch:
        """All of them in one row, in order."""
        packer = Packer(self.adapter, PatchCache(self._reader, self.adapter, FAR), shared)
        (bin_,) = packer.plan(self.trajectories, FAR)
        return packer.pack(self.trajectories, bin_)

    def logprobs(self, model: Any, micro: MicroBatch) -> list[Tensor]:
        """[R] of every row, in order."""
        hidden = self.adapter.hidden_states(model, micro.row)[micro.select]
        found, _ = token_logprobs(hidden, self.adapter.head(model), micro.targets, Sampling())
        by_place = dict(zip(micro.order, found.split(micro.row_lengths), strict=True))
        return [by_place[place] for place in range(len(self.rows))]


def batch_of(library: Library, family: Family) -> Batch:
    return Batch(library.adapter(family), SEEING if family.reads_media else READING)


def stock_model(folder: Path, family: Family) -> Any:
    auto = AutoModelForImageTextToText if family.reads_media else AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True)


def stock_logprobs(model: Any, library: Library, family: Family, row: Row) -> Tensor:
    """[R] by transformers' processor and model. Positions are ours where transformers' are wrong."""
    adapter, asked = library.adapter(family), row.asked
    ids = torch.from_numpy(np.concatenate([asked.prompt.ids, row.response])).long()[None]
    given: dict[str, Any] = {}
    if asked.media:
        found = processed(library.processor(family), asked.text, asked.media)
        given = {name: value for name, value in found.items() if "pixel" in name or "grid_thw" in name}
        config = adapter.config
        kinds = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
        kinds[:, len(asked.prompt.ids) :] = 0
        given["mm_token_type_ids"] = kinds
    if asked.media and not family.stock_positions:
        start = adapter.positions(asked.prompt.ids, asked.metadata)
        whole = np.concatenate([start, adapter.continue_positions(start, len(row.response))], 1)
        given["position_ids"] = torch.from_numpy(whole)[1:, None]
    if family.reads_media:
        model.model.rope_deltas = None
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given).logits[0]
    predicted = logits[len(asked.prompt.ids) - 1 : -1].log_softmax(-1)
    return predicted.gather(-1, torch.from_numpy(row.response).long()[:, None])[:, 0]


def weighed(logprobs: Sequence[Tensor]) -> Tensor:
    """A mean over tokens with weights of both signs, as a policy's loss is."""
    generator = torch.Generator().manual_seed(3)
    total = sum(map(len, logprobs))
    return sum((torch.randn(len(each), generator=generator) * each).sum() for each in logprobs) / total  # type: ignore[return-value]


def gradients(model: Any) -> dict[str, Tensor]:
    """A weight that no row uses has none."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


@pytest.fixture(scope="module")
def expected(library: Library) -> Any:
    """By family: log-probs and gradients of one response at a time."""
    known: dict[Family, tuple[list[Tensor], dict[str, Tensor]]] = {}

    def of(family: Family) -> tuple[list[Tensor], dict[str, Tensor]]:
        if family not in known:
            model = stock_model(library.folder(family), family)
            rows = batch_of(library, family).rows
            found = [stock_logprobs(model, library, family, row) for row in rows]
            weighed(found).backward()
            known[family] = [each.detach() for each in found], gradients(model)
        return known[family]

    return of


@pytest.mark.parametrize("packing", PACKINGS)
def test_logprobs_and_gradients_equal_one_response_at_a_time(
    library: Library, family: Family, packing: str, expected: Any
) -> None:
    batch = batch_of(library, family)
    model = batch.adapter.build(torch.float32, gradient_checkpointing=packing == "shared")
    found = batch.logprobs(model, batch.pack(shared=PACKINGS[packing]))
    logprobs, grads = expected(family)
    error = max(float((ours.detach() - theirs).abs().max()) for ours, theirs in zip(found, logprobs, strict=True))
    assert error <= family.logprob_error
    weighed(found).backward()
    ours = gradients(model)
    assert ours.keys() == grads.keys()
    assert max(float(grad.abs().max()) for grad in grads.values()) > 1e-2
    errors = {name: float((ours[name] - grad).abs().max()) for name, grad in grads.items()}
    assert max(errors.values()) <= family.gradient_error, max(errors.items(), key=lambda item: item[1])


def test_each_distinct_medium_goes_through_the_tower_once(library: Library, seeing: Family) -> None:
    batch = batch_of(library, seeing)
    model = batch.adapter.build(torch.float32)
    seen: list[int] = []
    batch.adapter.vision_tower(model).register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))  # type: ignore[union-attr]
    micro = batch.pack()
    batch.logprobs(model, micro)
    assert len(micro.row.media) == 5 < len(micro.row.slots) == 6
    assert seen == [sum(len(patches.values) for patches in micro.row.media)]


@torch.no_grad()
def test_features_of_a_medium_do_not_depend_on_its_company(library: Library, seeing: Family) -> None:
    """Windows and frames never reach into another medium."""
    adapter = library.adapter(seeing)
    model = adapter.build(torch.float32)
    asked = ask(adapter, Question("", "<video><image><video><image>", (EXCERPT, WIDE, STEADY, TALL)))
    patches = [adapter.patches(medium) for medium in asked.media]
    together: Any = model.model.get_video_features(
        torch.cat([each.normalised(torch.float32) for each in patches]), torch.tensor([each.grid for each in patches])
    )
    for each, features in zip(patches, together.pooler_output, strict=True):
        alone: Any = model.model.get_video_features(each.normalised(torch.float32), torch.tensor([each.grid]))
        torch.testing.assert_close(features, alone.pooler_output[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_sampled_vision_token_is_ordinary_text(library: Library, seeing: Family) -> None:
    """transformers cannot tell it from a placeholder; it gets another token with the same embedding and logit."""
    adapter = library.adapter(seeing)
    model, stock = adapter.build(torch.float32), stock_model(library.folder(seeing), seeing)
    texts = ["I see <|video_pad|><|video_pad|> it", "<|image_pad|>, it<|video_pad|>"]
    batch = Batch(adapter, [(Question("", "What? <video>", (ODD,)), texts), (Question("", "Text only"), texts)])
    twin = adapter.encode("<|vision_pad|>").item()
    for kind in ("video", "image"):
        for each in (model, stock):
            embedding = each.get_input_embeddings().weight
            embedding[adapter.encode(f"<|{kind}_pad|>").item()] = embedding[twin]
            head = each.get_output_embeddings().weight
            head[adapter.encode(f"<|{kind}_pad|>").item()] = head[twin]
    found = batch.logprobs(model, batch.pack())
    for row, ours in zip(batch.rows, found, strict=True):
        renamed = Row(row.asked, np.where(np.isin(row.response, adapter.banned_ids), twin, row.response))
        theirs = stock_logprobs(stock, library, seeing, renamed)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=seeing.logprob_error)


def test_a_text_row_runs_the_tower_at_weight_zero(library: Library, seeing: Family) -> None:
    batch = Batch(library.adapter(seeing), READING)
    model = batch.adapter.build(torch.float32)
    weighed(batch.logprobs(model, batch.pack())).backward()
    tower = batch.adapter.vision_tower(model)
    assert tower is not None
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@torch.no_grad()
def test_a_model_built_without_weights_becomes_the_model_when_they_arrive(library: Library, family: Family) -> None:
    batch = batch_of(library, family)
    full, bare = batch.adapter.build(torch.float32), batch.adapter.build(torch.float32, meta=True)
    assert {parameter.device.type for parameter in bare.parameters()} == {"meta"}
    bare.load_state_dict(full.state_dict(), assign=True)
    micro = batch.pack()
    for ours, theirs in zip(batch.logprobs(bare, micro), batch.logprobs(full, micro), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_the_tower_is_given_the_type_it_computes_in(library: Library, seeing: Family) -> None:
    batch = batch_of(library, seeing)
    model = batch.adapter.build(torch.bfloat16)
    seen: list[Tensor] = []
    batch.adapter.vision_tower(model).register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # type: ignore[union-attr]
    micro = batch.pack()
    batch.logprobs(model, micro)
    (pixels,) = seen
    assert {patches.values.dtype for patches in micro.row.media} == {torch.uint8}
    assert torch.equal(pixels, torch.cat([each.normalised(torch.float32) for each in micro.row.media]).bfloat16())


def test_a_row_with_too_few_placeholders_is_fatal(library: Library, seeing: Family) -> None:
    batch = batch_of(library, seeing)
    model, row = batch.adapter.build(torch.float32), batch.pack().row
    with pytest.raises(AlignmentError, match="placeholders for"):
        batch.adapter.hidden_states(model, replace(row, visual_index=row.visual_index[:-1]))
    with pytest.raises(AlignmentError, match="placeholders for"):
        batch.adapter.hidden_states(model, replace(row, slots=row.slots[:-1]))


def test_a_row_moves_between_devices_whole(library: Library, seeing: Family) -> None:
    row = batch_of(library, seeing).pack().row.to("meta")
    segments = row.segments
    tensors = [row.ids, row.positions, row.visual_index, segments.cu_q, segments.cu_k, segments.k_index]
    assert {x.device.type for x in [*tensors, *(m.values for m in row.media)] if x is not None} == {"meta"}


def test_shard_units_are_the_blocks(library: Library, family: Family) -> None:
    adapter = library.adapter(family)
    model = adapter.build(torch.float32, meta=True)
    inside = {id(parameter) for unit in adapter.shard_units(model) for parameter in unit.parameters()}
    tower = adapter.vision_tower(model)
    outside = [name for name, parameter in model.named_parameters() if id(parameter) not in inside]
    assert not [name for name in outside if ".layers." in name or ".blocks." in name]
    assert (tower is not None) is family.reads_media
    assert adapter.head(model).shape[0] == adapter.config.get_text_config().vocab_size
