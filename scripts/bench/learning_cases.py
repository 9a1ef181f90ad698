# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which runs `scripts.bench.learning` makes: every advantage, every loss, and what they are compared in.

A case is a name and the settings in which it differs from the quickstart's. Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verl.algorithms.advantage import ADVANTAGES
from verl.algorithms.policy_loss import LOSSES

Topic = Literal["advantage", "loss", "sampling", "sparse"]
Settings = dict[str, str]

CONFIG = "examples/quickstart/quickstart.yaml"
WORLD = Path("outputs/quickstart")
RESULTS = Path("outputs/learning")
SPARSE = RESULTS / "sparse"
REFERENCE = "grpo"  # the advantage that the losses are tried with
PLAIN = "default"  # the loss that the advantages are tried with

# Four optimizer steps per training step: after the first, ratios are no longer 1 and losses differ.
SHARED: Settings = {
    "worker.actor.global_batch_size": "4",
    "trainer.val_freq": "5",
    "trainer.val_generations_to_log": "0",
    "trainer.find_last_checkpoint": "false",
    "trainer.progress_bar": "false",
    "trainer.logger": "[file,until_learned]",
}
# What an advantage or a loss needs beside its name, or is published with.
ADVANTAGE_SETTINGS: Mapping[str, Settings] = {
    "grpo": {},
    "dr_grpo": {"worker.actor.loss_avg_mode": "seq_norm"},
    "grpo_passk": {},
    "rloo": {},
    "opo": {},
    "gpg": {},
    "reinforce_plus_plus": {},
    "reinforce_plus_plus_baseline": {},
    "remax": {},
    "gae": {},
    "gdpo": {},
    "ema_grpo": {},
    "optimal_token_baseline": {},
}
LOSS_SETTINGS: Mapping[str, Settings] = {
    "default": {},
    "gspo": {"worker.actor.loss_avg_mode": "seq"},
    "gspo_token": {"worker.actor.loss_avg_mode": "seq"},
    "cispo": {},
    "sapo": {},
    "gmpo": {"worker.actor.clip_ratio_low": "0.4", "worker.actor.clip_ratio_high": "0.4"},
    "gpg": {},
    "dppo_tv": {},
    "dppo_kl": {},
    "dro": {"worker.actor.loss_options.dro_beta": "0.1"},
    "vespo": {},
    "clip_cov": {},
    "kl_cov": {},
}
FEW: Settings = {"worker.rollout.n": "4"}  # responses per prompt: siblings often agree
SPARSE_WORLD: Settings = {
    "data.train_files": f"[{SPARSE / 'train.jsonl'}]",
    "worker.actor.model.model_path": str(SPARSE / "model"),
    "worker.rollout.n": "8",
}
MIXED: Settings = {"worker.rollout.enable_mix_policy": "true"}
SPARSE_SETTINGS: Mapping[str, Settings] = {
    "GRPO": {},
    "mix policy": MIXED,
    "LUFFY": MIXED
    | {
        "worker.actor.off_policy_loss": "luffy",
        "algorithm.adv_estimator": "dr_grpo",
        "worker.actor.loss_avg_mode": "seq_norm",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run."""

    topic: Topic
    name: str  # within the topic
    settings: Settings  # over CONFIG and SHARED
    length: int = 1  # in multiples of the steps of other runs

    @property
    def key(self) -> str:
        """A name for files and for `--only`."""
        return f"{self.topic}-{self.name.replace(' ', '_')}"

    def arguments(self, steps: int, seed: int) -> list[str]:
        """The command line of a run of `length` times `steps`, as `verl.trainer.main` takes it."""
        own = {
            "trainer.max_steps": str(self.length * steps),
            "data.seed": str(seed),
            "worker.rollout.seed": str(seed),
            "trainer.experiment_name": self.key,
            "trainer.save_checkpoint_path": str(RESULTS / "runs" / self.key),
        }
        return [f"config={CONFIG}", *(f"{key}={value}" for key, value in {**SHARED, **self.settings, **own}.items())]


def cases() -> list[Case]:
    """All runs, those that others are compared with first."""
    advantages = [
        Case(topic="advantage", name=name, settings={"algorithm.adv_estimator": name, **settings})
        for name, settings in ADVANTAGE_SETTINGS.items()
    ]
    losses = [
        Case(topic="loss", name=name, settings={"worker.actor.loss_type": name, **settings})
        for name, settings in LOSS_SETTINGS.items()
        if name != PLAIN  # that is the run of REFERENCE
    ]
    sampling = [
        Case(topic="sampling", name="off", settings=FEW),
        Case(topic="sampling", name="on", settings=FEW | {"algorithm.online_filtering": "true"}),
    ]
    sparse = [
        Case(topic="sparse", name=name, settings=SPARSE_WORLD | settings, length=2)
        for name, settings in SPARSE_SETTINGS.items()
    ]
    return [*advantages, *losses, *sampling, *sparse]


def missing() -> list[str]:
    """Advantages and losses of the package without a case; an alias is the same entry under another name."""
    advantages = {f"advantage {one.name}" for one in map(ADVANTAGES.__getitem__, ADVANTAGES) if _is_ours(one.function)}
    losses = {f"loss {one.name}" for one in map(LOSSES.__getitem__, LOSSES) if _is_ours(one.function)}
    tried = {f"advantage {name}" for name in ADVANTAGE_SETTINGS} | {f"loss {name}" for name in LOSS_SETTINGS}
    return sorted((advantages | losses) - tried)


def _is_ours(function: Callable[..., object]) -> bool:
    """Not a plug-in of somebody else's."""
    return function.__module__.startswith("verl.algorithms.")
