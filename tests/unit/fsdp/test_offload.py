# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What moves between memories, and when; and activations that wait in host memory.

Moments go to a device that does not exist. Modules refuse that: of weights it is tested when they are sent where.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.optim import AdamW

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.checkpoint import sharded
from verl.config.model import FsdpConfig, ModelConfig, OffloadConfig
from verl.fsdp import activations, offload
from verl.fsdp.build import Blueprint
from verl.fsdp.network import Learner, Network, NetworkSettings
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.workers.rank import Rank

DEVICE = "cuda:0"


def network(device: str, *, follows_fsdp: bool, **keys: bool) -> Any:
    """The part of a network that knows where things are."""
    made: Any = object.__new__(Network)
    blueprint = Blueprint(model=ModelConfig(), fsdp=FsdpConfig(enable_cpu_offload=follows_fsdp))
    made.settings = NetworkSettings(blueprint=blueprint, offload=OffloadConfig(**keys), token_budget=1)
    made.mesh = SimpleNamespace(device_type=device)
    made.model = nn.Linear(4, 2)
    return made


def learner(of: Any) -> Any:
    made: Any = object.__new__(Learner)
    made._network = of
    made.optimizer = AdamW(of.model.parameters())
    of.model(torch.ones(1, 4)).sum().backward()
    made.optimizer.step()
    return made


def places(learner: Any) -> tuple[str, str]:
    """Of the weights, and of the optimizer's moments."""
    state = learner.optimizer.state
    (moments,) = {str(state[weight][name].device) for weight in state for name in ("exp_avg", "exp_avg_sq")}
    assert {str(state[weight]["step"].device) for weight in state} == {"cpu"}
    return getattr(learner._network.model, "place", "cpu"), moments


EVERYTHING = {"offload_params": True, "offload_optimizer": True}
CASES: list[tuple[str, bool, dict[str, bool], tuple[str, str]]] = [  # and where weights and moments are inside
    (DEVICE, False, EVERYTHING, (DEVICE, DEVICE)),
    (DEVICE, False, {"offload_optimizer": True}, ("cpu", DEVICE)),  # here nothing moves by itself
    (DEVICE, False, {}, ("cpu", "cpu")),
    (DEVICE, True, EVERYTHING, ("cpu", "cpu")),  # FSDP2 gathers from host memory, and the optimizer steps there
    ("cpu", False, EVERYTHING, ("cpu", "cpu")),
]


@pytest.mark.parametrize(("device", "follows_fsdp", "keys", "inside"), CASES)
def test_weights_and_moments_are_on_the_device_only_while_they_are_needed(
    device: str,
    follows_fsdp: bool,
    keys: dict[str, bool],
    inside: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offload, "move_params", lambda model, place: setattr(model, "place", place))
    with FakeTensorMode(allow_non_fake_inputs=True):
        made = learner(network(device, follows_fsdp=follows_fsdp, **keys))
        with made.state_present():
            assert places(made) == inside
        assert places(made) == ("cpu", "cpu")
        with pytest.raises(ZeroDivisionError), made.state_present():
            raise ZeroDivisionError
        assert places(made) == ("cpu", "cpu")
        with made._network.weights_present():
            assert places(made) == (inside[0], "cpu")


@pytest.mark.parametrize(("device", "times"), [(DEVICE, 2), ("cpu", 0)])
def test_what_a_phase_used_is_given_back_where_nothing_moves_too(
    device: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    with offload.present(None, None, device):
        assert not emptied
    with pytest.raises(ZeroDivisionError), offload.present(None, None, device):
        raise ZeroDivisionError
    assert len(emptied) == times


@pytest.mark.parametrize(("stepped", "moves"), [(True, False), (False, True)])
def test_a_checkpoint_is_written_from_where_things_are(
    stepped: bool, moves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    inside: list[None] = []

    @contextmanager
    def present() -> Iterator[None]:
        inside.append(None)
        yield
        inside.clear()

    state = {0: {}} if stepped else {}
    rank: Any = object.__new__(Rank)
    rank._learner = SimpleNamespace(optimizer=SimpleNamespace(state=state), schedule=None, state_present=present)
    rank._network = SimpleNamespace(model=None)
    monkeypatch.setattr(sharded, "save", lambda *_, **__: seen.append(bool(inside)))
    monkeypatch.setattr(dist, "barrier", lambda: None)
    rank.save(Path("nowhere"), False)
    assert seen == [moves]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("activations") / "model", tied=True)


def gradients(path: Path, **model: bool) -> tuple[dict[str, Tensor], Policy]:
    made = policy_world.World(load_adapter(str(path)))
    settings = policy_world.policy_settings(model=model)
    training = policy_world.training_settings(token_budget=60)
    policy = Policy(made.packer, settings, training, init_device_mesh("cpu", (dist.get_world_size(),)))
    found: dict[str, Tensor] = {}

    def keep(*_: Any) -> None:
        found.update({name: weight.grad.full_tensor().clone() for name, weight in policy.model.named_parameters()})

    policy.optimizer.register_step_pre_hook(keep)
    rows = [*made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9]), *made.rows(made.prompt("and?"), 1, [4, 6])]
    policy.update([[policy_world.experience(row) for row in rows]], LossSettings())
    return found, policy


def test_activations_in_host_memory_change_no_gradient(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_world.one_rank(tmp_path)
    expected, _ = gradients(model_path)
    sent: list[Tensor] = []
    back: list[Tensor] = []
    to_host, to_device = activations.to_host, activations.to_device

    def send(tensor: Tensor) -> Any:
        sent.append(to_host(tensor)[1])
        assert sent[-1].data_ptr() != tensor.data_ptr()
        return tensor.device, sent[-1]

    def fetch(held: Any) -> Tensor:
        back.append(held[1])
        return to_device(held)

    monkeypatch.setattr(activations, "to_host", send)
    monkeypatch.setattr(activations, "to_device", fetch)
    found, policy = gradients(model_path, enable_activation_offload=True)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    blocks = len(policy.passes.packer.adapter.shard_units(policy.model))
    assert len(sent) >= 2 * blocks and len(sent) % blocks == 0  # one for each block and pass, and no weight
    assert all(tensor.shape[-1] == 64 for tensor in sent)
    assert {id(tensor) for tensor in back} == {id(tensor) for tensor in sent}
