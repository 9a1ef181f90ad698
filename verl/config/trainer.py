# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer section, and the root of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verl.config.algorithm import AlgorithmConfig
from verl.config.data import DataConfig
from verl.config.keys import key, section
from verl.config.worker import WorkerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """How long, on what, and what is written down."""

    total_epochs: int = key(15, "passes over the training rows")
    max_steps: int | None = key(None, "training steps; null = total_epochs")
    nnodes: int = key(1, "machines of the job")
    n_gpus_per_node: int = key(8, "policy processes per machine, one per device; on a CPU that many processes")
    device: Literal["auto", "cpu", "cuda"] = key("auto", "what to compute on; auto = CUDA where there is any")
    project_name: str = key("easy_r1", "project, for trackers and the default checkpoint folder")
    experiment_name: str = key("demo", "run, for trackers and the default checkpoint folder")
    logger: tuple[str, ...] = key(("console", "wandb"), "trackers that metrics go to")
    progress_bar: bool = key(True, "show a progress bar")
    val_freq: int = key(-1, "steps between validations; -1 = only after the last step")
    val_before_train: bool = key(True, "validate before the first step")
    val_only: bool = key(False, "validate and stop")
    val_generations_to_log: int = key(0, "validation responses written to the trackers")
    val_benchmarks: tuple[str, ...] = key(
        (), "public benchmarks to run at every validation, as python -m eval names them"
    )
    val_benchmarks_root: str = key("data/eval", "folder that holds their annotations and videos")
    val_benchmarks_style: Literal["official", "instruct", "thinking"] = key("instruct", "how they are asked")
    val_benchmarks_limit: int | None = key(None, "only the first items of each")
    save_freq: int = key(-1, "steps between checkpoints; -1 = only after the last step")
    save_limit: int = key(-1, "checkpoints to keep, the best one among them; -1 = all")
    save_model_only: bool = key(False, "write checkpoints without optimizer state; training cannot resume from them")
    save_checkpoint_path: str | None = key(None, "folder of checkpoints; null = checkpoints/project/experiment")
    load_checkpoint_path: str | None = key(None, "checkpoint folder (global_step_N) to resume from")
    find_last_checkpoint: bool = key(True, "resume from the last checkpoint in save_checkpoint_path, if there is one")
    max_try_make_batch: int = key(20, "generation rounds to fill one batch when groups are dropped; <= 0 = no limit")
    critic_warmup: int = key(0, "training steps in which only the critic learns")
    ray_timeline: str | None = key(None, "file for Ray's timeline of the run")
    collective_timeout_seconds: float = key(1800.0, "seconds after which a stuck collective operation is an error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it."""

    data: DataConfig = section(DataConfig)
    algorithm: AlgorithmConfig = section(AlgorithmConfig)
    worker: WorkerConfig = section(WorkerConfig)
    trainer: TrainerConfig = section(TrainerConfig)
