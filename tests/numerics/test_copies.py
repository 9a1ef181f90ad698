# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Several copies of the weights, each spread over some ranks (HSDP), against one rank; and who reads from disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from tests import policy_world, world
from tests.numerics.test_gradients import SETTINGS, dealt
from verl.checkpoint import sharded
from verl.config.model import LoraConfig, OptimConfig
from verl.errors import ConfigError
from verl.fsdp import fill
from verl.fsdp.critic import Critic
from verl.fsdp.mesh import sequence_group, weight_mesh
from verl.fsdp.muon import Muon
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.models.pretrained import SINGLE

CLIP = 0.25  # below the norm of the gradient, so that the norm matters
TWO_BY_TWO, TWO_BY_ONE, TWO_HANDS = "two by two", "two by one", "two by two, two hands of two"


def new_policy(path: Path, size: int = -1, **settings: Any) -> tuple[Policy, policy_world.World]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    group = sequence_group(mesh, settings.pop("ulysses_size", 1))
    made = policy_world.World(load_adapter(str(path)), group=group)
    training = policy_world.training_settings(
        max_grad_norm=CLIP, token_budget=93, optim=OptimConfig(lr=1e-3, **settings.pop("optim", {}))
    )
    fsdp = {"fsdp_size": size, **settings.pop("fsdp", {})}
    return Policy(made.packer, policy_world.policy_settings(fsdp=fsdp, **settings), training, mesh), made


def step(policy: Policy, made: policy_world.World) -> dict[str, Any]:
    """One update by all ranks, the last of four idle: its norm, and the clipped gradients."""
    first, second = dealt(made)
    hands = {1: [[*first, *second]], 2: [first, second], 4: [first[:3], [*first[3:], *second[:1]], second[1:], []]}
    found: dict[str, Any] = {}

    def keep(*_: Any) -> None:
        found["gradients"] = {
            name: parameter.grad.full_tensor().clone() for name, parameter in policy.model.named_parameters()
        }

    handle = policy.optimizer.register_step_pre_hook(keep)
    size = made.packer.group.size  # ranks that share a hand
    metrics = policy.update([hands[dist.get_world_size() // size][dist.get_rank() // size]], SETTINGS)
    handle.remove()
    return found | {"norm": metrics["actor/grad_norm"].value, "weights": whole_weights(policy)}


def whole_weights(policy: Policy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in policy.full_weights()}


def trained(policy: Policy) -> sharded.Trained:
    return sharded.Trained(policy.model, policy.optimizer, policy.learner.schedule)


def whole_state(policy: Policy) -> dict[str, Tensor]:
    """Weights and optimizer state, whatever the layout."""
    options = StateDictOptions(full_state_dict=True, flatten_optimizer_state_dict=True)
    optimizer = get_optimizer_state_dict(policy.model, policy.optimizer, options=options)
    return whole_weights(policy) | {name: value for name, value in optimizer.items() if isinstance(value, Tensor)}


def assert_copies_agree(policy: Policy) -> None:
    """Bit by bit, weights and moments of this rank and of its likes in other copies."""
    for name, parameter in policy.model.named_parameters():
        for value in (parameter, *policy.optimizer.state[parameter].values()):
            if isinstance(value, DTensor):
                assert value.placements == (Replicate(), Shard(0)), name
                others = [torch.empty_like(value.to_local()) for _ in range(value.device_mesh.size(0))]
                dist.all_gather(others, value.to_local().contiguous(), group=value.device_mesh.get_group(0))
                assert all(torch.equal(other, others[0]) for other in others), name


def four_ranks(rank: int, path: Path, folder: Path) -> None:
    policy, made = new_policy(path, 2)
    loaded = whole_weights(policy)
    found = step(policy, made)
    assert_copies_agree(policy)
    sharded.save(folder / "actor", trained(policy))
    state = whole_state(policy)
    if rank == 0:
        torch.save({"loaded": loaded, **found}, folder / TWO_BY_TWO)
        torch.save(state, folder / "state")
    here = dict(sharded.local_state(trained(policy)))
    other, _ = new_policy(path, 2)
    sharded.load(folder / "actor", trained(other))
    assert dict(sharded.local_state(trained(other))) == here
    sharing = step(*new_policy(path, 2, ulysses_size=2))
    if rank == 0:
        torch.save({"loaded": loaded, **sharing}, folder / TWO_HANDS)
    step_muon()
    if rank < 2:  # a process takes seconds to start: two go on
        dist.destroy_process_group()
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
        two_ranks(rank, path, folder)


def step_muon() -> None:
    """A step of Muon on two copies has the bits of the step on one."""
    mesh = weight_mesh(init_device_mesh("cpu", (4,)), 2)
    assert mesh.mesh.tolist() == [[0, 1], [2, 3]]  # neighbours share a copy
    generator = torch.Generator().manual_seed(1)
    start, gradient = (torch.randn(7, 12, generator=generator) for _ in range(2))
    found = []
    for tensor, grad in (
        (start.clone(), gradient),
        [distribute_tensor(whole, mesh, [Replicate(), Shard(0)]) for whole in (start, gradient)],
    ):
        weight = torch.nn.Parameter(tensor)
        weight.grad = grad
        Muon([{"params": [weight], "momentum": 0.9, "weight_decay": 0.1}], lr=0.1, betas=(0.9, 0.9)).step()
        found.append(weight.full_tensor() if isinstance(weight, DTensor) else weight)
    assert torch.equal(*found)


def two_ranks(rank: int, path: Path, folder: Path) -> None:
    policy, made = new_policy(path, 1)
    found = {"loaded": whole_weights(policy), **step(policy, made)}
    assert_copies_agree(policy)
    sharded.load(folder / "actor", trained(policy))
    state, expected = whole_state(policy), torch.load(folder / "state")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in state)
    if rank == 0:
        torch.save(found, folder / TWO_BY_ONE)
    only_rank_0_reads(rank, path, folder)


def only_rank_0_reads(rank: int, path: Path, folder: Path) -> None:
    """The other's folder has no weights. What is wrong with those of rank 0 is an error of both."""
    mine = Path(shutil.copytree(path, folder / f"of rank {rank}"))
    if rank == 1:
        (mine / SINGLE).unlink()
    lora, whole = LoraConfig(rank=4), fill.BLOCK_BYTES
    fill.BLOCK_BYTES = 3000  # a weight comes in several blocks, not all of them even
    policy, _ = new_policy(mine, model={"lora": lora})
    fill.BLOCK_BYTES = whole
    other, _ = new_policy(path, fsdp={"enable_rank0_init": False}, model={"lora": lora})
    for name, parameter in policy.model.named_parameters():
        assert torch.equal(parameter.full_tensor(), other.model.get_parameter(name).full_tensor()), name
    settings = policy_world.critic_settings(fsdp={"fsdp_size": 1})
    packer = policy_world.World(load_adapter(str(mine))).packer
    critic = Critic(packer, settings, policy_world.learning_settings(), init_device_mesh("cpu", (2,)))
    assert not critic.model.get_parameter("score.weight").full_tensor().any()
    (mine / SINGLE).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"of rank 0 holds neither model\.safetensors"):
        new_policy(mine)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("copies") / "model", tied=True)


@pytest.fixture(scope="module")
def found(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    policy_world.run_ranks(four_ranks, 4, model_path, folder)
    return folder


@pytest.fixture(scope="module")
def expected(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    policy_world.one_rank(tmp_path_factory.mktemp("one"))
    policy, made = new_policy(model_path)
    stock = made.adapter.build(torch.float32)
    loaded = {name: parameter.detach() for name, parameter in stock.named_parameters()}
    return {"loaded": loaded, **step(policy, made)}


@pytest.mark.parametrize("layout", [TWO_BY_TWO, TWO_BY_ONE, TWO_HANDS])
def test_a_step_is_that_of_one_rank(layout: str, found: Path, expected: dict[str, Any]) -> None:
    of_ranks = torch.load(found / layout)
    assert of_ranks["norm"] == pytest.approx(expected["norm"], rel=1e-5) and expected["norm"] > 2 * CLIP
    for name, gradient in expected["gradients"].items():
        assert float((of_ranks["gradients"][name] - gradient).abs().max()) <= 1e-6, name
    squares = [gradient.square().sum() for gradient in of_ranks["gradients"].values()]
    assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(CLIP, rel=1e-3)
    for name, weight in expected["weights"].items():  # AdamW turns the rounding of a gradient near 0 into a whole step
        sure = expected["gradients"][name].abs() > 1e-5
        assert float(((of_ranks["weights"][name] - weight).abs() * sure).max()) <= 1e-5, name


@pytest.mark.parametrize("layout", [TWO_BY_TWO, TWO_BY_ONE])
def test_rank_0_sends_what_from_pretrained_reads(layout: str, found: Path, expected: dict[str, Any]) -> None:
    loaded = torch.load(found / layout)["loaded"]
    assert loaded.keys() == expected["loaded"].keys()
    assert all(torch.equal(loaded[name], weight) for name, weight in expected["loaded"].items())


def test_one_rank_goes_on_from_a_checkpoint_of_two_copies(model_path: Path, found: Path, tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)
    policy, made = new_policy(model_path)
    sharded.load(found / "actor", trained(policy))
    state, expected = whole_state(policy), torch.load(found / "state")
    assert state.keys() == expected.keys() and any("exp_avg" in name for name in state)
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    step(policy, made)


def test_copies_that_do_not_come_out_even_are_refused() -> None:
    class Ranks:
        device_type = "cpu"

        def size(self) -> int:
            return 6

    with pytest.raises(ConfigError, match="fsdp_size=4 does not divide 6 processes"):
        weight_mesh(Ranks(), 4)  # type: ignore[arg-type]
    for whole in (-1, 0, 6, 8):
        ranks = Ranks()
        assert weight_mesh(ranks, whole) is ranks  # type: ignore[arg-type]
