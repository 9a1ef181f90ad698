# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rules and a reward model, side by side: a response is scored when both have spoken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from verl.cluster.group import WorkerGroup, first_done
from verl.config.reward_model import RewardModelConfig
from verl.errors import ConfigError, ContractError
from verl.fsdp.build import DTYPES
from verl.fsdp.reward_model import ScorerSettings
from verl.models.adapter import ModelAdapter, local_folder
from verl.models.score_head import check_scorer
from verl.tracking.metrics import Metrics
from verl.trainer.scorers import CallStyle, RewardHandle
from verl.types import NotScorable, Score, Scored, Trajectory, Verdict
from verl.workers.rank import ModelSource
from verl.workers.reward_model import RewardModelOrder, load_reader

RULE_PART: Final = "rule_score"
START_SECONDS = 900.0  # for a process to read a large model


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What the score of each is multiplied with."""

    rule: float
    model: float


class JointRewards:
    """Sends every response to both kinds of scorer and adds up what they say."""

    def __init__(self, rule: RewardHandle, model: RewardHandle, shares: Shares) -> None:
        self._rule = rule
        self._model = model
        self._shares = shares

    def submit(self, trajectory: Trajectory) -> None:
        """See Rewards."""
        self._model.submit(trajectory)
        self._rule.submit(trajectory)

    def collect(self) -> list[Scored]:
        """See Rewards. Neither kind is left idle while the other is waited for."""
        handles = (self._rule, self._model)
        for handle in handles:
            handle.close()
        while busy := [handle for handle in handles if handle.refs]:
            refs = [ref for handle in busy for ref in handle.refs]
            first_done(refs, min(handle.patience() for handle in busy))
            for handle in busy:
                handle.advance(timeout=0.0)
        by_rule = self._rule.collect()
        by_model = {id(row.trajectory): row.verdict for row in self._model.collect()}
        return [
            Scored(trajectory=row.trajectory, verdict=joined(row.verdict, by_model[id(row.trajectory)], self._shares))
            for row in by_rule
        ]

    def drain_metrics(self) -> Metrics:
        """See Rewards."""
        return self._rule.drain_metrics() | self._model.drain_metrics()


def reward_model_order(config: RewardModelConfig) -> RewardModelOrder | None:
    """What reward-model workers are told, None if there are none. Raises ConfigError for a folder that is not there."""
    at = "worker.reward.model"
    if config.model_path is None:
        return None
    source = ModelSource(
        model_path=local_folder(config.model_path, f"{at}.model_path"),
        tokenizer_path=local_folder(config.tokenizer_path, f"{at}.tokenizer_path") if config.tokenizer_path else None,
        chat_template=config.chat_template,
        trust_remote_code=config.trust_remote_code,
    )
    settings = ScorerSettings(
        dtype=DTYPES[config.dtype],
        device="cpu" if config.placement == "cpu" else "cuda",
        token_budget=config.max_token_len,
        normalisation=config.normalisation,
    )
    return RewardModelOrder(source=source, settings=settings, num_threads=max(config.num_cpus, 1))


def reward_model_adapter(config: RewardModelConfig) -> ModelAdapter | None:
    """The family that reads for the reward model, if there is one. Raises ConfigError unless the folder holds one."""
    order = reward_model_order(config)
    if order is None:
        return None
    try:
        adapter = load_reader(order.source)
        check_scorer(adapter)
    except ConfigError as error:
        raise ConfigError(f"worker.reward.model: {error}") from error
    return adapter


def model_handle(workers: WorkerGroup, config: RewardModelConfig, batch_size: int) -> RewardHandle:
    """Reward models behind their queue. `batch_size`: n where siblings share the pass over their video, else 1."""
    style = CallStyle(
        prefix="reward_model", item=lambda row: row, max_rows=config.max_batch_size, start_seconds=START_SECONDS
    )
    return RewardHandle(workers, batch_size=batch_size, timeout_seconds=config.timeout_seconds, style=style)


def joined(rule: Verdict, model: Verdict, shares: Shares) -> Verdict:
    """The weighted sum, with the parts of both and the rule's own score as `rule_score`.

    Without the model's verdict there is none, nor without the rule's unless its share is 0. ContractError when the
    reward function has a part that the model's has too.
    """
    if isinstance(model, NotScorable):
        return model
    if isinstance(rule, NotScorable):
        return rule if shares.rule else Score(overall=shares.model * model.overall, parts=model.parts)
    parts = {RULE_PART: rule.overall, **model.parts}
    _check_apart(rule.parts, parts)
    overall = shares.rule * rule.overall + shares.model * model.overall
    return Score(overall=overall, parts={**rule.parts, **parts})


def _check_apart(theirs: Mapping[str, float], ours: Mapping[str, float]) -> None:
    both = sorted(theirs.keys() & ours.keys())
    if both:
        raise ContractError(
            f"the reward function returns the part {both[0]!r}, which is what a reward model adds; give it another name"
        )
