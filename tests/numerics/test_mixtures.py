# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of any kind on any rank: two ranks have the gradient that one process finds with one group at a time.

A gradient is a sum over groups, so what is expected of a mixture is put together from the gradients of its groups, each
alone in the network: nothing in it has met another kind of row. Ranks that disagree on what they gather would wait for
each other; `tests.ranks.PATIENCE` makes that a failure, and the last line that they wrote names the mixture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.config.model import OptimConfig
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.types import Experience, MediaRef

ROOMY, TIGHT = 4096, 60  # packed tokens of a micro-batch: all rows of a rank, or hardly more than the longest group
LENGTHS = (5, 2)  # of the two responses to each prompt

Gradients = dict[str, Tensor]
KINDS: dict[str, str] = {  # the media of a row: v a video, l a longer one, i an image, w a wider one
    "text": "",
    "sum": "",
    "video": "v",
    "long": "l",
    "clips": "vlv",
    "image": "i",
    "pictures": "iw",
    "image+video": "iv",
    "video+image": "li",
    "all": "wviliv",
}


@dataclass(frozen=True)
class Mixture:
    """The kinds of rows that each rank gets."""

    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.first or 'nothing'} | {self.second or 'nothing'}"

    @property
    def hands(self) -> tuple[list[str], list[str]]:
        return self.first.split(), self.second.split()


FEW = (Mixture("text", "video"), Mixture("image", "text"))
WHOLE = (
    *FEW,
    Mixture("text", "sum"),
    Mixture("video", "text"),
    Mixture("image", "video"),
    Mixture("video", "long"),
    Mixture("text", "image+video"),
    Mixture("text image video", "pictures"),
    Mixture("video+image", "clips"),
    Mixture("all", "text"),
    Mixture("all image text", "video sum"),
    Mixture("video", ""),
    Mixture("", "text"),
)
CUT = (  # with TIGHT, the ranks have uneven numbers of passes
    Mixture("text video sum long image", "pictures"),
    Mixture("text sum image+video", "image"),
    Mixture("", "image long text"),
)
SOME = (*FEW, Mixture("video", ""), CUT[0])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model, how it is trained, and the mixtures it is tried with."""

    family: str = "qwen3_vl"
    model: dict[str, Any] = field(default_factory=dict)
    mixtures: Sequence[Mixture] = FEW
    budget: int = TIGHT
    error: float = 1e-6  # of a gradient, in shares of the largest one
    witness: str | None = None  # the setting that finds the gradients of groups alone; None for itself


PLAIN = "qwen3_vl"
SETTINGS = {
    PLAIN: Setting(model={"enable_gradient_checkpointing": False}, mixtures=WHOLE, budget=ROOMY),
    "checkpointing": Setting(mixtures=(*FEW, *CUT), witness=PLAIN),
    "frozen tower": Setting(model={"freeze_vision_tower": True}, mixtures=(*SOME, WHOLE[2]), witness=PLAIN),
    "frozen language model": Setting(model={"freeze_language_model": True}, witness=PLAIN),
    "qwen2_5_vl": Setting(family="qwen2_5_vl", mixtures=SOME),
    "qwen3_5": Setting(family="qwen3_5", mixtures=SOME, error=4e-6),  # sums over chunks that begin where a row does
    "qwen3_vl_moe": Setting(family="qwen3_vl_moe", mixtures=SOME),
}
CASES = [(name, mixture) for name, setting in SETTINGS.items() for mixture in setting.mixtures]


class Trial:
    """A policy whose weights never move, and rows for it."""

    def __init__(self, folder: Path, setting: Setting, ranks: int) -> None:
        self._budget = setting.budget
        self._world = policy_world.World(load_adapter(str(folder)))
        training = policy_world.training_settings(
            max_grad_norm=float("inf"), token_budget=setting.budget, optim=OptimConfig(lr=0.0, weight_decay=0.0)
        )
        settings = policy_world.policy_settings(model=setting.model)
        self._policy = Policy(self._world.packer, settings, training, init_device_mesh("cpu", (ranks,)))

    def gradients(self, kinds: Sequence[str]) -> Gradients:
        """This rank's rows of what the optimizer is given, when its hand is of these kinds."""
        found = Gradients()

        def keep(*_: Any) -> None:
            for name, parameter in self._policy.model.named_parameters():
                if parameter.requires_grad:
                    found[name] = parameter.grad.to_local().clone()

        hook = self._policy.optimizer.register_step_pre_hook(keep)
        self._policy.update([[row for kind in kinds for row in self._rows(kind)]], LossSettings(clip_low=0.2))
        hook.remove()
        return found

    def num_passes(self, kinds: Sequence[str]) -> int:
        """Micro-batches of a rank that has rows of these kinds."""
        rows = [row.trajectory for kind in kinds for row in self._rows(kind)]
        return len(self._world.packer.plan(rows, self._budget))

    def _rows(self, kind: str) -> list[Experience]:
        group = list(KINDS).index(kind)
        prompt = self._world.prompt(f"What of {kind}?", *map(self._medium, KINDS[kind]))
        return [policy_world.experience(row) for row in self._world.rows(prompt, group, LENGTHS)]

    def _medium(self, letter: str) -> MediaRef:
        side = self._world.adapter.align
        if letter in "vl":
            frames, width = {"v": (2, 2), "l": (5, 1)}[letter]
            return self._world.clip(letter, frames=frames, height=side, width=width * side)
        return self._world.image(letter, height=2 * side, width={"i": 1, "w": 3}[letter] * side)


def on_two_ranks(rank: int, folders: dict[str, Path], target: Path) -> None:
    """The gradients of every case, this rank's rows of them, in a file."""
    found = []
    for name, setting in SETTINGS.items():
        trial = Trial(folders[setting.family], setting, 2)
        for mixture in setting.mixtures:
            sys.stderr.write(f"rank {rank}: {name}: {mixture}\n")  # the last one is what ended a run that ends early
            found.append(trial.gradients(mixture.hands[rank]))
    torch.save(found, target / f"{rank}.pt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("mixtures")
    return {family: world.tiny_model(root / family, family) for family in {one.family for one in SETTINGS.values()}}


@pytest.fixture(scope="module")
def of_two_ranks(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Gradients]:
    target = tmp_path_factory.mktemp("ranks")
    policy_world.run_ranks(on_two_ranks, 2, folders, target)
    halves = zip(*(torch.load(target / f"{rank}.pt") for rank in range(2)), strict=True)
    return [{name: torch.cat([first[name], second[name]]) for name in first} for first, second in halves]


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Gradients]:
    """Of one process and a group by itself: name in SETTINGS, kind -> gradients."""
    policy_world.one_rank(tmp_path_factory.mktemp("one"))
    trials = cache(lambda name: Trial(folders[SETTINGS[name].family], SETTINGS[name], 1))
    return cache(lambda name, kind: trials(name).gradients([kind]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", range(len(CASES)), ids=[f"{name}: {mixture}" for name, mixture in CASES])
def test_two_ranks_have_the_gradient_of_the_groups_alone(
    place: int, of_two_ranks: list[Gradients], alone: Callable[[str, str], Gradients]
) -> None:
    name, mixture = CASES[place]
    kinds = [kind for hand in mixture.hands for kind in hand]
    parts = [alone(SETTINGS[name].witness or name, kind) for kind in kinds]
    found = of_two_ranks[place]
    errors = {weight: float((found[weight] - mean_of(parts, weight)).abs().max()) for weight in found}
    worst = max(errors, key=errors.__getitem__)
    largest = max(float(gradient.abs().max()) for gradient in found.values())
    assert largest > 1e-3
    assert errors[worst] <= SETTINGS[name].error * largest, (
        f"{worst}: error {errors[worst]:.1e} in gradients up to {largest:.1e}"
    )
    if not any(KINDS[kind] for kind in kinds):
        assert not any(found[weight].any() for weight in found if "visual" in weight)


def mean_of(parts: Sequence[Gradients], weight: str) -> Tensor:
    return torch.stack([part[weight] for part in parts]).mean(0)


def test_one_rank_with_every_kind_in_one_micro_batch_has_it_too(
    folders: dict[str, Path], alone: Callable[[str, str], Gradients]
) -> None:
    parts = [alone(PLAIN, kind) for kind in KINDS]
    found = Trial(folders[PLAIN], SETTINGS[PLAIN], 1).gradients(list(KINDS))
    largest = max(float(gradient.abs().max()) for gradient in found.values())
    for weight in found:
        torch.testing.assert_close(found[weight], mean_of(parts, weight), rtol=0, atol=1e-6 * largest)


def test_the_tight_budget_cuts_ranks_into_uneven_numbers_of_passes(folders: dict[str, Path], tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)
    trial = Trial(folders[PLAIN], SETTINGS["checkpointing"], 1)
    passes = [[trial.num_passes(hand) for hand in mixture.hands] for mixture in CUT]
    assert all(first != second and max(first, second) > 1 for first, second in passes), passes
