# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the trainer asks of an engine, without saying which engine."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, get_args, get_type_hints

from verl.errors import ConfigError
from verl.registry import nearest
from verl.types import Floats, Prompt, Tokens, Trajectory

# vLLM raises a temperature below the first, but 0, to it, log-probs included, and refuses one above the second.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How responses are drawn. `n` of them per prompt, each with its own seed derived from `seed`.

    No token is banned: a ban renormalises the engine's log-probs and not the trainer's. A vision token that
    a policy samples is ordinary text on both sides, because visual positions come from the prompt alone.
    """

    n: int = 1
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = -1  # -1 keeps the whole vocabulary
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int = 512
    seed: int | None = None  # None: not reproducible, and faster on CUDA
    ignore_eos: bool = False
    skip_special_tokens: bool = True  # in the decoded text
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = {
            "n must be at least 1": self.n >= 1,
            "max_tokens must be at least 1": self.max_tokens >= 1,
            f"temperature must be 0 or in [{MIN_TEMPERATURE}, {MAX_TEMPERATURE}]": (
                self.temperature == 0 or MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE
            ),
            "top_p must be in (0, 1]": 0 < self.top_p <= 1,
            "top_k must be -1 (off) or at least 1": self.top_k == -1 or self.top_k >= 1,
            "min_p must be in [0, 1]": 0 <= self.min_p <= 1,
            "repetition_penalty must be positive": self.repetition_penalty > 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError(f"sampling: {'; '.join(broken)}; got {self}")

    @property
    def is_exact(self) -> bool:
        """Whether rollout log-probs are those of the policy itself, softmax(logits / temperature).

        Cut-offs and penalties sample from another distribution, and its log-probs are what the engine
        returns.
        """
        neutral = SamplingPlan()
        shaping = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
        return self.temperature > 0 and all(getattr(self, name) == getattr(neutral, name) for name in shaping)

    def override(self, changes: Mapping[str, Any]) -> SamplingPlan:
        """This plan with some fields replaced, as `rollout.val_override_config` gives them.

        Raises ConfigError for an unknown key, naming the nearest known one, or a value of the wrong type.
        """
        return replace(self, **{key: _checked(key, value) for key, value in changes.items()})

    def greedy(self) -> SamplingPlan:
        """The single most likely response, under the same penalties and limits."""
        return replace(self, n=1, temperature=0.0, top_p=1.0, top_k=-1, min_p=0.0, seed=None)


def _checked(key: str, value: Any) -> Any:
    known = get_type_hints(SamplingPlan)
    if key not in known:
        raise ConfigError(f"unknown sampling option {key!r}{nearest(key, known)} (known: {', '.join(known)})")
    kind = known[key]
    if key == "stop":
        values = [value] if isinstance(value, str) else value
        if isinstance(values, (list, tuple)) and all(isinstance(v, str) for v in values):
            return tuple(values)
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif type(value) in (get_args(kind) if isinstance(kind, types.UnionType) else (kind,)):
        return value
    raise ConfigError(f"sampling option {key!r} wants {getattr(kind, '__name__', kind)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one prompt is to get, where prompts differ."""

    n: int  # responses drawn as the plan says, with the indices 0 to n - 1
    greedy: bool = False  # and the most likely response, with the index that follows those of the plan's own n

    @property
    def num_rows(self) -> int:
        """Responses in all."""
        return self.n + self.greedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine says to one request."""

    prompt_ids: Tokens  # [P] as the engine expanded the prompt
    cached_prompt_tokens: int
    ids: Tokens  # [R]
    logprobs: Floats  # [R]
    finish_reason: str  # "stop", "length", or why there is no whole response
    weight_version: int  # the oldest that any token was sampled with


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Work done by one engine since it was last asked."""

    num_rows: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0  # of `prompt_tokens`, those that were not computed again
    response_tokens: int = 0
    media_loads: int = 0
    distinct_media: int = 0

    def __add__(self, other: EngineStats) -> EngineStats:
        return EngineStats(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(EngineStats)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept:
    """Bytes of a device that were in use, by engine, trainer and all else, before an engine went to sleep and after."""

    before: int
    after: int


class RolloutEngine(Protocol):
    """Generates, and sleeps while the policy it serves is being trained.

    One step is: generate_group for every prompt, sleep, (train), wake_weights, (a `transfer.Sender` sends
    weights and their version), wake_cache. Weights may only arrive between wake_weights and wake_cache,
    when every cache is empty: so no prefix and no vision feature of an older policy can survive. All of it
    runs on the CPU too, where sleep frees nothing.
    """

    async def start(self) -> None:
        """Load the model. Raises WorkerError when the engine does not come up."""

    def generate_group(self, prompt: Prompt, group: int, plan: SamplingPlan) -> AsyncIterator[Trajectory]:
        """Yield `plan.n` trajectories in the order in which they finish, not by index."""

    async def sleep(self, *, keep_weights: bool = False) -> Slept | None:
        """Finish what is running, drop all caches and give memory back: how much, where there is any to give.

        Without `keep_weights`, weights must be sent before the next generation.
        """

    async def wake_weights(self) -> None:
        """Make room for weights, and for nothing else yet."""

    async def wake_cache(self) -> None:
        """Make room for generation, and allow it."""

    async def drain_stats(self) -> EngineStats:
        """Work done since the last call."""

    async def tokens_made(self) -> int:
        """Response tokens so far, those of unfinished rows too: as long as it changes, the engine does not hang."""

    async def check(self) -> None:
        """Raise WorkerError when the engine is dead."""

    async def close(self) -> None:
        """Stop the engine's processes. May be called twice."""
