# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from verl.config.model import OptimConfig
from verl.fsdp.low_bit import adamw_8bit
from verl.fsdp.muon import Muon, hidden_matrices


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimizer that `config.strategy` names, over the parameters that are trained.

    Weight decay is for matrices, not for norms and biases, unless `config.decay_vectors`. A state that it loads brings
    moments, not settings: those are `config`'s. Raises ConfigError when the strategy needs a package that is not there.
    """
    optimizer = _optimizer(model, config)
    optimizer.register_load_state_dict_pre_hook(_as_configured)
    return optimizer


def _optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options: dict[str, Any] = {"lr": config.lr, "betas": config.betas}
    match config.strategy:
        case "adamw_bf16":
            return CompensatedAdamW(_groups(trained, config), **options)
        case "adamw_8bit":
            return adamw_8bit(_groups(trained, config), **options)
        case "muon":
            hidden = hidden_matrices(model)
            matrices = _groups([parameter for parameter in trained if parameter in hidden], config)
            others = _groups([parameter for parameter in trained if parameter not in hidden], config)
            return Muon([*({**group, "momentum": config.muon_momentum} for group in matrices), *others], **options)
    return AdamW(_groups(trained, config), fused=trained[0].is_cuda, **options)


def _as_configured(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state to load, with the settings that the optimizer was built with; the rate is the schedule's affair."""
    groups = [
        {**saved, **{name: value for name, value in own.items() if name not in ("params", "lr", "initial_lr")}}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=False)
    ]
    return {**state, "param_groups": [*groups, *state["param_groups"][len(groups) :]]}


def _groups(parameters: Sequence[nn.Parameter], config: OptimConfig) -> list[dict[str, Any]]:
    """Parameter groups with their weight decay; none without a parameter."""
    decayed = [parameter for parameter in parameters if config.decay_vectors or parameter.ndim > 1]
    spared = [parameter for parameter in parameters if not (config.decay_vectors or parameter.ndim > 1)]
    split = ((decayed, config.weight_decay), (spared, 0.0))
    return [{"params": some, "weight_decay": decay} for some, decay in split if some]


class Schedule(LambdaLR):
    """A learning rate schedule whose state is plain numbers, also where the optimizer keeps its rate in a tensor.

    What it loads is a place: from there on rates follow its own settings.
    """

    def state_dict(self) -> dict[str, Any]:
        """See LambdaLR."""
        rates = ("base_lrs", "_last_lr")
        state = super().state_dict()
        return {**state, **{name: [float(rate) for rate in state[name]] for name in rates}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See LambdaLR. To be called after the optimizer has loaded its own state."""
        super().load_state_dict({**state_dict, "base_lrs": self.base_lrs})
        groups, self._last_lr = self.optimizer.param_groups, []
        for group, base, factor in zip(groups, self.base_lrs, self.lr_lambdas, strict=True):
            rate, kept = base * factor(self.last_epoch), group["lr"]
            group["initial_lr"] = base
            group["lr"] = kept.fill_(rate) if isinstance(kept, torch.Tensor) else rate
            self._last_lr.append(kept.clone() if isinstance(kept, torch.Tensor) else rate)


def build_schedule(optimizer: Optimizer, config: OptimConfig, num_steps: int) -> Schedule:
    """Linear warm-up from 0, then constant, or a line or half a cosine to `min_lr_ratio` at training step `num_steps`.

    It moves once per training step, also where optimizer steps were left out.
    """
    warmup = config.lr_warmup_steps
    if warmup is None:
        warmup = int(config.lr_warmup_ratio * num_steps)
    floor, fall = config.min_lr_ratio or 0.0, FALLS[config.lr_scheduler_type]

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return floor + (1 - floor) * fall(min((step - warmup) / max(num_steps - warmup, 1), 1.0))

    for group in optimizer.param_groups:
        group["initial_lr"] = config.lr  # a number, and so every rate is computed from one
    return Schedule(optimizer, factor)


# From 1 at the end of the warm-up to the floor, by the share of the way.
FALLS: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda way: 1 - way,
    "cosine": lambda way: 0.5 * (1 + math.cos(math.pi * way)),
}


NARROW = ("exp_avg", "exp_avg_sq", "lost")  # state that CompensatedAdamW keeps in bfloat16


class CompensatedAdamW(Optimizer):
    """AdamW for weights kept in bfloat16: moments in bfloat16, and what a rounded step lost is added to the next one.

    The compensated (Kahan) sum is what lets steps below the resolution of a weight add up.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float = 0.01,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.register_load_state_dict_post_hook(_narrow)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, group)

    def _step_one(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            for name in NARROW:
                state[name] = torch.zeros_like(parameter, dtype=torch.bfloat16)
        first, second = group["betas"]
        gradient = parameter.grad.float()  # type: ignore[union-attr]
        state["step"] += 1
        steps = state["step"].item()
        mean = state["exp_avg"].float().mul_(first).add_(gradient, alpha=1 - first)
        square = state["exp_avg_sq"].float().mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["exp_avg"].copy_(mean)
        state["exp_avg_sq"].copy_(square)
        scale = (square / (1 - second**steps)).sqrt_().add_(group["eps"])
        change = mean.div_(scale).mul_(-group["lr"] / (1 - first**steps))
        change.add_(parameter.float(), alpha=-group["lr"] * group["weight_decay"])
        wanted = parameter.float() + (change + state["lost"].float())
        parameter.copy_(wanted)
        state["lost"].copy_(wanted - parameter.float())


def _narrow(optimizer: Optimizer) -> None:
    """Loading makes a state as wide as its weights."""
    for state in optimizer.state.values():
        for name in NARROW:
            state[name] = state[name].to(torch.bfloat16)
