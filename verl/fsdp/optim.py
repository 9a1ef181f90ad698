# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from verl.config.model import OptimConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    """AdamW over the parameters that have a gradient; weight decay on all of them, norms and biases too."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    options: dict[str, Any] = {"lr": config.lr, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.strategy == "adamw_bf16":
        return CompensatedAdamW(trained, **options)
    return AdamW(trained, fused=trained[0].is_cuda, **options)


def build_schedule(optimizer: Optimizer, config: OptimConfig, num_steps: int) -> LambdaLR:
    """Linear warm-up from 0, then constant, or half a cosine down to `min_lr_ratio` at training step `num_steps`."""
    warmup = config.lr_warmup_steps
    if warmup is None:
        warmup = int(config.lr_warmup_ratio * num_steps)
    decay = _cosine(config.min_lr_ratio or 0.0) if config.lr_scheduler_type == "cosine" else lambda _: 1.0

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return decay(min((step - warmup) / max(num_steps - warmup, 1), 1.0))

    return LambdaLR(optimizer, factor)


def _cosine(floor: float) -> Callable[[float], float]:
    return lambda progress: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class CompensatedAdamW(Optimizer):
    """AdamW for weights kept in bfloat16: moments in bfloat16, and what a rounded step lost is added to the next one.

    The compensated (Kahan) sum is what lets steps below the resolution of a weight add up.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

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
            for name in ("exp_avg", "exp_avg_sq", "lost"):
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
