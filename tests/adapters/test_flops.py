# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The formula against torch's own counter of a real pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.adapters.conftest import Library
from tests.adapters.families import WITH_MEDIA, Family
from tests.adapters.test_network import batch_of
from verl.fsdp import gauge
from verl.fsdp.gauge import passes_of
from verl.models.flops import Work, forward_flops, peak_flops
from verl.types import Grid

ATTENTION = {"scaled_dot_product", "flash_attention", "bmm"}  # what is not a product with a weight


def counted(counter: FlopCounterMode) -> float:
    """Products with weights: attention and the tables of rotary frequencies are other operations."""
    return sum(
        number
        for operation, number in counter.get_flop_counts()["Global"].items()
        if not any(word in str(operation) for word in ATTENTION)
    )


@torch.no_grad()
def test_products_with_weights_are_those_that_torch_counts(library: Library, family: Family) -> None:
    batch = batch_of(library, family)
    model, micro = batch.adapter.build(torch.float32), batch.pack()
    if hasattr(model.config.get_text_config(), "num_experts"):
        model.set_experts_implementation("eager")  # the counter does not know the other one's operation
    with FlopCounterMode(display=False) as counter:
        batch.logprobs(model, micro)
    ours = batch.adapter.flops(micro.row, len(micro.targets))
    assert ours.decoder + ours.vision == pytest.approx(counted(counter), rel=0.01)
    assert (ours.vision > 0) is family.reads_media


def test_attention_is_counted_pair_by_pair(library: Library, family: Family) -> None:
    """Shared prompts see each key once per query, plain ones again for each response."""
    batch = batch_of(library, family)
    lengths = [len(each.prompt.ids) + len(each.response_ids) for each in batch.trajectories]
    plain, shared = (batch.pack(shared=flag).row.segments.num_pairs for flag in (False, True))
    assert plain == sum(length * (length + 1) // 2 for length in lengths)
    groups: dict[int, list[int]] = {}
    for each in batch.trajectories:
        groups.setdefault(each.group, [len(each.prompt.ids)]).append(len(each.response_ids))
    by_hand = 0
    for prompt, *responses in groups.values():
        by_hand += sum(place + 1 for place in range(prompt))
        by_hand += sum(prompt + place + 1 for length in responses for place in range(length))
    assert shared == by_hand


def test_windows_see_less_than_frames(library: Library, seeing: Family) -> None:
    config = library.adapter(seeing).config
    small, large = (
        forward_flops(config, Work(tokens=1, pairs=1, targets=1, media=(Grid(2, side, side),))) for side in (4, 8)
    )
    windows = getattr(config.vision_config, "fullatt_block_indexes", None) is not None
    ratio = large.vision_attention / small.vision_attention
    assert ratio == pytest.approx((16 + 2 * 4) / 3 if windows else 16)  # one block of three sees the whole frame
    assert large.vision / small.vision == 4


def test_a_device_is_known_by_its_whole_name() -> None:
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA H20") == peak_flops("NVIDIA H20-3e") == 148e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("cpu") is None


def test_a_step_is_worth_three_passes_where_all_is_trained() -> None:
    one, two = torch.nn.Parameter(torch.zeros(30)), torch.nn.Parameter(torch.zeros(10), requires_grad=False)
    assert (passes_of([one]), passes_of([two]), passes_of([]), passes_of([one, two])) == (3, 1, 1, 2.75)


def test_utilisation_is_what_was_done_over_what_could_be(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(library, WITH_MEDIA[0])
    model, micro = batch.adapter.build(torch.float32, meta=True), batch.pack()
    tower = batch.adapter.vision_tower(model)
    assert tower is not None
    tower.requires_grad_(False)
    monkeypatch.setattr(gauge.torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    found = gauge.Gauge(batch.adapter, model, "cuda")
    monkeypatch.setattr(gauge.time, "perf_counter", lambda: found._begin + 2.0)
    found.add(micro)
    found.add(replace(micro, order=()))  # a filler
    once = batch.adapter.flops(micro.row, len(micro.targets))
    (metric,) = found.metrics("actor").values()
    assert metric.value == pytest.approx((3 * once.of_decoder + once.of_vision) / (2 * 989e12))
    assert gauge.Gauge(batch.adapter, model, "cpu").metrics("actor") == {}
