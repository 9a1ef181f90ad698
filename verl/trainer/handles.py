# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the loop talks to: typed stubs over worker groups. A test replaces them with fakes and needs no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from verl.cluster.deal import Deal
from verl.cluster.group import Watch, WorkerGroup, stream
from verl.rollout.engine import Ask, EngineStats, SamplingPlan
from verl.rollout.router import assign
from verl.tracking.metrics import Max, Metrics, merge
from verl.types import Experience, Floats, MediaRef, Prompt, Scored, Trajectory


class Policy(Protocol):
    """The model that is trained, and its frozen reference, spread over ranks."""

    @property
    def num_hands(self) -> int:
        """How many hands a deal must have."""

    def logprobs(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """Log-probabilities of the responses, [R] each, in flattened order."""

    def logprobs_and_squares(self, dealt: Deal[Trajectory]) -> list[tuple[Floats, Floats]]:
        """The same, each with the sums of the squared probabilities of all tokens in the place of each, [R]."""

    def ref_logprobs(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """The same under the reference policy."""

    def update(self, steps: Sequence[Deal[Experience]], kl_coef: float) -> Metrics:
        """One optimiser step per deal, in order. `kl_coef` weighs the KL in the loss, if it is there."""

    def publish(self, version: int) -> None:
        """Send the weights to every engine, between its wake_weights and wake_cache."""

    def end_step(self) -> Metrics:
        """Forget the pixels of this step; what they cost."""

    def save(self, directory: Path) -> None:
        """Write model, optimizer, schedule and RNG of all ranks."""

    def load(self, directory: Path) -> None:
        """Read them back."""


class Critic(Protocol):
    """The model that predicts returns, spread over as many ranks as the policy."""

    def values(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """Values of the response tokens, [R] each, in flattened order."""

    def update(self, steps: Sequence[Deal[Experience]]) -> Metrics:
        """One optimiser step per deal, in order."""

    def end_step(self) -> Metrics:
        """Forget the pixels of this step; what they cost."""

    def save(self, directory: Path) -> None:
        """Write model, optimizer, schedule and RNG of all ranks."""

    def load(self, directory: Path) -> None:
        """Read them back."""


class Rollout(Protocol):
    """The engines that generate."""

    def generate(
        self, prompts: Sequence[Prompt], plan: SamplingPlan, asks: Sequence[Ask] | None = None
    ) -> Iterator[Trajectory]:
        """Responses as they finish, `plan.n` per prompt, or what `asks` has for each; `group` is the prompt's place."""

    def sleep(self) -> Metrics:
        """Free the devices for training; what that gave."""

    def wake_weights(self) -> None:
        """Make room for weights to be received."""

    def wake_cache(self) -> None:
        """Make room for generation."""

    def drain_stats(self) -> EngineStats:
        """Work done since the last call."""


class Rewards(Protocol):
    """The scorers."""

    def submit(self, trajectory: Trajectory) -> None:
        """Begin to score; returns at once."""

    def collect(self) -> list[Scored]:
        """Wait for all that was submitted; in the order of submission."""

    def drain_metrics(self) -> Metrics:
        """How fast scoring was since the last call, and what it cost."""


@dataclass(frozen=True, slots=True)
class _TrainedHandle:
    """Ranks of a model that learns, in a worker group."""

    workers: WorkerGroup
    save_model_only: bool = False
    ulysses_size: int = 1  # neighbours that hold the same hand

    @property
    def num_hands(self) -> int:
        """See Policy."""
        return len(self.workers) // self.ulysses_size

    def end_step(self) -> Metrics:
        """See Policy."""
        return merge(self.workers.all("end_step"))

    def save(self, directory: Path) -> None:
        """See Policy."""
        self.workers.all("save", directory, self.save_model_only)

    def load(self, directory: Path) -> None:
        """See Policy."""
        self.workers.all("load", directory)

    def _each_hand(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call every rank with the arguments of its hand; what the first rank of each hand returns."""
        calls = [given for given in arguments for _ in range(self.ulysses_size)]
        return self.workers.each(method, calls)[:: self.ulysses_size]


@dataclass(frozen=True, slots=True)
class CriticHandle(_TrainedHandle):
    """Critic ranks in a worker group."""

    def values(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """See Critic."""
        return dealt.gather(self._each_hand("values", [(hand,) for hand in dealt.hands]))

    def update(self, steps: Sequence[Deal[Experience]]) -> Metrics:
        """See Critic."""
        hands = [([step.hands[hand] for step in steps],) for hand in range(self.num_hands)]
        return merge(self._each_hand("update", hands))


@dataclass(frozen=True, slots=True)
class PolicyHandle(_TrainedHandle):
    """Policy ranks in a worker group."""

    def announce(self, media: Sequence[MediaRef]) -> None:
        """Have the idle ranks read what will be trained on while engines generate; returns at once.

        Which rank will need which clip is not known yet: what is read is in the memory of its machine for all of them.
        """
        refs = list({ref.key: ref for ref in media}.values())
        num_ranks = len(self.workers)
        for rank in range(num_ranks) if refs else ():
            self.workers.start(rank, "read_ahead", refs[rank::num_ranks])

    def logprobs(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """See Policy."""
        return dealt.gather(self._each_hand("logprobs", [(hand,) for hand in dealt.hands]))

    def logprobs_and_squares(self, dealt: Deal[Trajectory]) -> list[tuple[Floats, Floats]]:
        """See Policy."""
        return dealt.gather(self._each_hand("logprobs_and_squares", [(hand,) for hand in dealt.hands]))

    def ref_logprobs(self, dealt: Deal[Trajectory]) -> list[Floats]:
        """See Policy."""
        return dealt.gather(self._each_hand("ref_logprobs", [(hand,) for hand in dealt.hands]))

    def update(self, steps: Sequence[Deal[Experience]], kl_coef: float) -> Metrics:
        """See Policy."""
        hands = [([step.hands[hand] for step in steps], kl_coef) for hand in range(self.num_hands)]
        return merge(self._each_hand("update", hands))

    def publish(self, version: int) -> None:
        """See Policy."""
        self.workers.all("publish", version)


@dataclass(frozen=True, slots=True)
class RolloutHandle:
    """Engines in a worker group; all requests of a prompt go to one of them."""

    workers: WorkerGroup
    watch: Watch

    def generate(
        self, prompts: Sequence[Prompt], plan: SamplingPlan, asks: Sequence[Ask] | None = None
    ) -> Iterator[Trajectory]:
        """See Rollout."""
        asks = [Ask(n=plan.n)] * len(prompts) if asks is None else asks
        shares = assign(prompts, plan, len(self.workers), [ask.num_rows for ask in asks])
        calls = [
            self.workers.start(server, "generate", [(group, prompts[group], asks[group]) for group in share], plan)
            for server, share in enumerate(shares)
            if share
        ]
        for generated in stream(calls, self.watch):
            yield generated.attach(prompts[generated.group])

    def sleep(self) -> Metrics:
        """See Rollout. Nothing where engines give no memory back: on a CPU, or on devices of their own."""
        parts: list[Metrics] = [
            {
                "perf/memory_before_sleep_gb": Max(slept.before / 2**30),
                "perf/memory_after_sleep_gb": Max(slept.after / 2**30),
            }
            for slept in self.workers.all("sleep")
            if slept is not None
        ]
        return merge(parts)

    def wake_weights(self) -> None:
        """See Rollout."""
        self.workers.all("wake_weights")

    def wake_cache(self) -> None:
        """See Rollout."""
        self.workers.all("wake_cache")

    def drain_stats(self) -> EngineStats:
        """See Rollout."""
        return sum(self.workers.all("drain_stats"), EngineStats())
