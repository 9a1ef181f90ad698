# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of each key: honoured, honoured at some values only, or without effect.

A key that stands in neither table is honoured. The help text prints both tables beside the keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from verl.config.keys import Key, read
from verl.config.trainer import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """The values that can be honoured so far, and what the others are missing."""

    values: tuple[Any, ...]
    missing: str
    plug_ins: bool = False  # whether "path/to/file.py:name" is a value too

    def allows(self, value: Any) -> bool:
        """Whether `value` can be honoured."""
        return value in self.values or (self.plug_ins and ".py" in str(value))


_STRATEGY = Only(values=("fsdp", "fsdp2"), missing="models are spread with FSDP2 only")
_KL = ("kl", "abs", "mse", "low_var_kl", "k1", "k2", "k3")
_FP16 = "gradients of float16 vanish without loss scaling"
_TRAINED = {
    "torch_dtype": Only(values=(None, "bf16", "fp32"), missing=_FP16),
    "mp_param_dtype": Only(values=("bf16", "fp32"), missing=_FP16),
    "mp_reduce_dtype": Only(values=("bf16", "fp32"), missing=_FP16),
}
_BUFFERS = Only(values=("fp32",), missing="buffers keep the type that the model gives them")

ONLY: dict[str, Only] = {
    "algorithm.kl_penalty": Only(
        values=(*_KL, *(f"{name}+" for name in _KL)),
        missing="the full divergence needs the logits of the reference policy, which nobody keeps",
    ),
    "worker.hybrid_engine": Only(values=(True,), missing="separate training and generation jobs are not available"),
    "worker.actor.strategy": _STRATEGY,
    "worker.actor.padding_free": Only(values=(True,), missing="rows are always packed without padding"),
    "worker.actor.dynamic_batching": Only(values=(True,), missing="passes are always filled up to a token budget"),
    **{f"worker.actor.fsdp.{name}": only for name, only in _TRAINED.items()},
    "worker.actor.fsdp.mp_buffer_dtype": _BUFFERS,
    "worker.ref.strategy": _STRATEGY,
    "worker.ref.fsdp.mp_buffer_dtype": _BUFFERS,
    "worker.rollout.name": Only(values=("vllm",), missing="there is no other inference engine"),
    "worker.rollout.colocated": Only(values=(True,), missing="engines on devices of their own are not available yet"),
}

_CRITIC_LORA = "a critic trains all of its weights"
_FSDP2 = "FSDP2 always shards the model's own parameters"

NO_EFFECT: dict[str, str] = {
    "worker.actor.fsdp.use_orig_params": _FSDP2,
    "worker.actor.use_torch_compile": "log-probabilities are computed in chunks, without compilation",
    "worker.ref.fsdp.use_orig_params": _FSDP2,
    "worker.ref.offload.offload_optimizer": "the reference policy has no optimizer",
    "worker.rollout.disable_tqdm": "the one progress bar is switched with trainer.progress_bar",
    "worker.rollout.limit_images": "an engine allows as many images as the row with most of them holds",
}

# Read by estimators that need a critic; where there is none, these keys may have any value.
CRITIC_ONLY: dict[str, Only] = {
    "worker.critic.strategy": _STRATEGY,
    "worker.critic.dynamic_batching": Only(values=(True,), missing="passes are always filled up to a token budget"),
    "worker.critic.model.lora.rank": Only(values=(0,), missing="a critic trains all of its weights"),
    **{f"worker.critic.fsdp.{name}": only for name, only in _TRAINED.items()},
    "worker.critic.fsdp.mp_buffer_dtype": _BUFFERS,
}
NO_EFFECT |= {
    "worker.critic.padding_free": "rows are always packed without padding",
    "worker.critic.fsdp.use_orig_params": _FSDP2,
    "worker.critic.model.lora.alpha": _CRITIC_LORA,
    "worker.critic.model.lora.exclude_modules": _CRITIC_LORA,
    "worker.critic.model.lora.sync": _CRITIC_LORA,
    "worker.critic.model.lora.target_modules": _CRITIC_LORA,
    "worker.critic.model.tokenizer_path": "the critic reads the tokens of the policy",
}


def unsupported(config: Config) -> Iterator[str]:
    """One message for every value that cannot be honoured."""
    yield from _refused(config, ONLY)


def _refused(config: Config, table: Mapping[str, Only]) -> Iterator[str]:
    for path, only in table.items():
        value = read(config, path)
        if not only.allows(value):
            cure = " or ".join(_spell(value) for value in only.values)
            yield f"{path}={_spell(value)}: {only.missing}; set it to {cure}"


def unsupported_critic(config: Config) -> Iterator[str]:
    """The same for the critic's own keys, to be asked where there is a critic."""
    yield from _refused(config, CRITIC_ONLY)


def remark(key: Key) -> str:
    """What a reader of the help should know about the support of a key; usually nothing."""
    if key.path in NO_EFFECT:
        return f"(no effect: {NO_EFFECT[key.path]})"
    only = ONLY.get(key.path) or CRITIC_ONLY.get(key.path)
    if only is not None:
        return f"(only {', '.join(_spell(value) for value in only.values)}: {only.missing})"
    return ""


def _spell(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
