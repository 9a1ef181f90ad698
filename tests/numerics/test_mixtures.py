# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of any kind on any rank: two ranks move the weights as one process does that has one group at a time.

A gradient is a sum over groups, so what is expected of a mixture is put together from the gradients of its groups, each
alone in the network: nothing in it has met another kind of row. Ranks that disagree on what they gather would wait for
each other; `tests.ranks.PATIENCE` makes that a failure, and the last line that they wrote names the mixture.

Most of it is computed in float64, where the same sums in another order differ by 1e-15, and anything else by more.
AdamW's first step is g / (|g| + 1e-8), which makes a whole unit of a rounding error where g is 0. But it rises with g:
the step for a gradient that is known to an error lies between those of its two ends, and that is asked of every weight.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from transformers.integrations import moe

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.config.model import OptimConfig
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.types import Experience, MediaRef

ROOMY, TIGHT = 4096, 60  # packed tokens of a micro-batch: all rows of a rank, or hardly more than the longest group
LENGTHS = (5, 2)  # of the two responses to each prompt
EXACT, ROUNDED = 1e-13, 1e-6  # errors of gradients in float64 and float32, in shares of the largest one
MAX_NORM = 0.1  # of gradients; all mixtures exceed it
OPTIM = OptimConfig(lr=1e-3, weight_decay=0.0)
EPSILON = 1e-8  # AdamW's
STEP_ROUNDING = {torch.float64: 1e-6, torch.float32: 2e-3}  # of a step that is read off weights, in steps of lr

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
    dtype: torch.dtype = torch.float64
    witness: str | None = None  # the setting that finds the gradients of groups alone; None for itself


PLAIN = "qwen3_vl"
SETTINGS = {
    PLAIN: Setting(model={"enable_gradient_checkpointing": False}, mixtures=WHOLE, budget=ROOMY),
    "checkpointing": Setting(dtype=torch.float32, mixtures=(*FEW, *CUT)),
    "frozen tower": Setting(model={"freeze_vision_tower": True}, mixtures=(*SOME, WHOLE[2]), witness=PLAIN),
    "frozen language model": Setting(model={"freeze_language_model": True}, witness=PLAIN),
    "qwen2_5_vl": Setting(family="qwen2_5_vl", mixtures=SOME),
    "qwen3_5": Setting(family="qwen3_5", mixtures=SOME),
    "qwen3_vl_moe": Setting(family="qwen3_vl_moe", mixtures=SOME),
    "grouped experts": Setting(family="qwen3_vl_moe", dtype=torch.float32),
}
CASES = [(name, mixture) for name, setting in SETTINGS.items() for mixture in setting.mixtures]


@dataclass(frozen=True, kw_only=True)
class Update:
    """This rank's rows of what the optimizer was given, and of how far it moved the weights, in steps of lr."""

    gradients: Gradients
    moves: Gradients  # float32


@contextmanager
def in_double() -> Iterator[None]:
    """Code that asks for float32 gets float64, and no kernel is asked that has only the first."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("float", "float32"):
            patch.setattr(torch, name, torch.float64)
        patch.setattr(Tensor, "float", Tensor.double)
        patch.setattr(moe, "_can_use_grouped_mm", lambda *_: False)  # a loop over experts stands in for it
        yield


class Trial:
    """A policy whose weights are put back after every update, and rows for it."""

    def __init__(self, folder: Path, setting: Setting, ranks: int, max_norm: float = float("inf")) -> None:
        self._setting = setting
        self._world = policy_world.World(load_adapter(str(folder)))
        training = policy_world.training_settings(max_grad_norm=max_norm, token_budget=setting.budget, optim=OPTIM)
        settings = policy_world.policy_settings(model=setting.model)
        self._policy = Policy(self._world.packer, settings, training, init_device_mesh("cpu", (ranks,)))
        self._policy.model.to(setting.dtype)

    def update(self, kinds: Sequence[str]) -> Update:
        """The first update, when this rank's hand is of these kinds."""
        trained = [(name, weight) for name, weight in self._policy.model.named_parameters() if weight.requires_grad]
        before = {name: weight.to_local().detach().clone() for name, weight in trained}
        found = Gradients()

        def keep(*_: Any) -> None:
            found.update({name: weight.grad.to_local().clone() for name, weight in trained})

        hook = self._policy.optimizer.register_step_pre_hook(keep)
        with in_double() if self._setting.dtype is torch.float64 else nullcontext():
            self._policy.update([[row for kind in kinds for row in self._rows(kind)]], LossSettings(clip_low=0.2))
        hook.remove()
        moves = Gradients()
        for name, weight in trained:
            now = weight.to_local().detach()
            moves[name] = ((now - before[name]) / OPTIM.lr).to(torch.float32)
            now.copy_(before[name])
        self._policy.optimizer.state.clear()
        return Update(gradients=found, moves=moves)

    def num_passes(self, kinds: Sequence[str]) -> int:
        """Micro-batches of a rank that has rows of these kinds."""
        rows = [row.trajectory for kind in kinds for row in self._rows(kind)]
        return len(self._world.packer.plan(rows, self._setting.budget))

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
    """The update of every case, this rank's rows of it, in a file."""
    found = []
    for name, setting in SETTINGS.items():
        trial = Trial(folders[setting.family], setting, 2, MAX_NORM)
        for mixture in setting.mixtures:
            sys.stderr.write(f"rank {rank}: {name}: {mixture}\n")  # the last one is what ended a run that ends early
            update = trial.update(mixture.hands[rank])
            found.append((update.gradients, update.moves))
    torch.save(found, target / f"{rank}.pt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("mixtures")
    return {family: world.tiny_model(root / family, family) for family in {one.family for one in SETTINGS.values()}}


@pytest.fixture(scope="module")
def of_two_ranks(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Update]:
    """Place in CASES -> the update."""
    target = tmp_path_factory.mktemp("ranks")
    policy_world.run_ranks(on_two_ranks, 2, folders, target)
    first, second = (torch.load(target / f"{rank}.pt", mmap=True) for rank in range(2))

    def update(place: int) -> Update:
        gradients, moves = (joined(*parts) for parts in zip(first[place], second[place], strict=True))
        return Update(gradients=gradients, moves=moves)

    return update


def joined(first: Gradients, second: Gradients) -> Gradients:
    return {name: torch.cat([first[name], second[name]]) for name in first}


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Gradients]:
    """Of one process and a group by itself: name in SETTINGS, kind -> gradients."""
    policy_world.one_rank(tmp_path_factory.mktemp("one"))
    trials = cache(lambda name: Trial(folders[SETTINGS[name].family], SETTINGS[name], 1))
    return cache(lambda name, kind: trials(name).update([kind]).gradients)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", range(len(CASES)), ids=[f"{name}: {mixture}" for name, mixture in CASES])
def test_two_ranks_update_as_the_groups_alone_would(
    place: int, of_two_ranks: Callable[[int], Update], alone: Callable[[str, str], Gradients]
) -> None:
    name, mixture = CASES[place]
    kinds = [kind for hand in mixture.hands for kind in hand]
    parts = [alone(SETTINGS[name].witness or name, kind) for kind in kinds]
    update = of_two_ranks(place)
    found = update.gradients
    expected = clipped({weight: mean_of(parts, weight) for weight in found})
    check_gradients(found, expected, SETTINGS[name].dtype)
    check_moves(update.moves, expected, SETTINGS[name].dtype)
    if not any(KINDS[kind] for kind in kinds):
        assert not any(found[weight].any() for weight in found if "visual" in weight)


def check_gradients(found: Gradients, expected: Gradients, dtype: torch.dtype) -> None:
    assert {gradient.dtype for gradient in found.values()} == {dtype}
    errors = {weight: float((found[weight] - expected[weight]).abs().max()) for weight in found}
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= error_of(expected, dtype), f"{worst}: error {errors[worst]:.1e}"


def check_moves(moves: Gradients, expected: Gradients, dtype: torch.dtype) -> None:
    """Every weight's, between the steps of the smallest and the largest gradient that it may have had."""
    error, rounding = error_of(expected, dtype), STEP_ROUNDING[dtype]
    for weight, move in moves.items():
        least, most = (first_step(expected[weight] + slack) for slack in (error, -error))
        assert ((least - rounding <= move) & (move <= most + rounding)).all(), weight
    assert max(float(move.abs().max()) for move in moves.values()) > 0.99


def first_step(gradient: Tensor) -> Tensor:
    """AdamW's, in steps of lr."""
    return -gradient / (gradient.abs() + EPSILON)


def error_of(expected: Gradients, dtype: torch.dtype) -> float:
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    return largest * (EXACT if dtype is torch.float64 else ROUNDED)


def clipped(gradients: Gradients) -> Gradients:
    norm = sum(float(gradient.square().sum()) for gradient in gradients.values()) ** 0.5
    assert norm > MAX_NORM
    return {name: gradient * (MAX_NORM / (norm + 1e-6)) for name, gradient in gradients.items()}


def mean_of(parts: Sequence[Gradients], weight: str) -> Tensor:
    return torch.stack([part[weight] for part in parts]).mean(0)


def test_one_rank_with_every_kind_in_one_micro_batch_has_it_too(
    folders: dict[str, Path], alone: Callable[[str, str], Gradients]
) -> None:
    parts = [alone(PLAIN, kind) for kind in KINDS]
    found = Trial(folders[PLAIN], SETTINGS[PLAIN], 1).update(list(KINDS)).gradients
    check_gradients(found, {weight: mean_of(parts, weight) for weight in found}, torch.float64)


def test_the_tight_budget_cuts_ranks_into_uneven_numbers_of_passes(folders: dict[str, Path], tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)
    trial = Trial(folders[PLAIN], SETTINGS["checkpointing"], 1)
    passes = [[trial.num_passes(hand) for hand in mixture.hands] for mixture in CUT]
    assert all(first != second and max(first, second) > 1 for first, second in passes), passes
