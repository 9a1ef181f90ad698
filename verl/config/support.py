# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of each key: honoured, honoured at some values only, or without effect.

A key that stands in neither table is honoured. The help text prints both tables beside the keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from verl.config.keys import Key, list_keys, read
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
_COPIES = Only(values=(-1, 0), missing="several copies of the weights are not available yet, all processes share one")
_BUFFERS = Only(values=("fp32",), missing="buffers keep the type that the model gives them")

ONLY: dict[str, Only] = {
    "algorithm.adv_estimator": Only(
        values=("grpo",), missing="this advantage estimator is not available yet", plug_ins=True
    ),
    "algorithm.kl_penalty": Only(
        values=("kl", "abs", "mse", "low_var_kl"),
        missing="the full divergence, over the vocabulary, is not available yet",
    ),
    "algorithm.online_filtering": Only(values=(False,), missing="dropping and refilling groups is not available yet"),
    "trainer.critic_warmup": Only(values=(0,), missing="there is no critic to warm up"),
    "worker.hybrid_engine": Only(values=(True,), missing="separate training and generation jobs are not available"),
    "worker.actor.strategy": _STRATEGY,
    "worker.actor.loss_type": Only(values=("default",), missing="this policy loss is not available yet", plug_ins=True),
    "worker.actor.padding_free": Only(values=(True,), missing="rows are always packed without padding"),
    "worker.actor.dynamic_batching": Only(values=(True,), missing="passes are always filled up to a token budget"),
    "worker.actor.ulysses_size": Only(values=(1,), missing="sequence parallelism is not available yet"),
    "worker.actor.model.lora.rank": Only(values=(0,), missing="low-rank adapters are not available yet"),
    "worker.actor.fsdp.fsdp_size": _COPIES,
    "worker.actor.fsdp.mp_buffer_dtype": _BUFFERS,
    "worker.ref.strategy": _STRATEGY,
    "worker.ref.fsdp.fsdp_size": _COPIES,
    "worker.ref.fsdp.mp_buffer_dtype": _BUFFERS,
    "worker.rollout.name": Only(values=("vllm",), missing="there is no other inference engine"),
    "worker.rollout.colocated": Only(values=(True,), missing="engines on devices of their own are not available yet"),
    "worker.rollout.enable_mix_policy": Only(
        values=(False,), missing="mixing in responses from the data is not available yet"
    ),
}

_NO_FILTER = "groups are not filtered yet"
_NO_LORA = "low-rank adapters are not available yet"
_NO_SAPO = "the sapo loss is not available yet"
_FSDP2 = "FSDP2 always shards the model's own parameters"

NO_EFFECT: dict[str, str] = {
    "algorithm.filter_high": _NO_FILTER,
    "algorithm.filter_key": _NO_FILTER,
    "algorithm.filter_low": _NO_FILTER,
    "algorithm.gdpo_reward_keys": "the gdpo estimator is not available yet",
    "data.mini_rollout_batch_size": "without dropped groups a step's batch needs no refilling",
    "trainer.max_try_make_batch": _NO_FILTER,
    "worker.actor.fsdp.use_orig_params": _FSDP2,
    "worker.actor.model.lora.alpha": _NO_LORA,
    "worker.actor.model.lora.exclude_modules": _NO_LORA,
    "worker.actor.model.lora.target_modules": _NO_LORA,
    "worker.actor.tau_negative": _NO_SAPO,
    "worker.actor.tau_positive": _NO_SAPO,
    "worker.actor.use_torch_compile": "log-probabilities are computed in chunks, without compilation",
    "worker.ref.fsdp.use_orig_params": _FSDP2,
    "worker.ref.offload.offload_optimizer": "the reference policy has no optimizer",
    "worker.rollout.disable_tqdm": "the one progress bar is switched with trainer.progress_bar",
    "worker.rollout.limit_images": "an engine allows as many images as the row with most of them holds",
    "worker.rollout.mix_policy_accuracy_threshold": "responses from the data are not mixed in yet",
}
NO_EFFECT |= {
    key.path: "no available advantage estimator needs a critic"
    for key in list_keys(Config)
    if key.path.startswith("worker.critic.")
}


def unsupported(config: Config) -> Iterator[str]:
    """One message for every value that cannot be honoured."""
    for path, only in ONLY.items():
        value = read(config, path)
        if not only.allows(value):
            cure = " or ".join(_spell(value) for value in only.values)
            yield f"{path}={_spell(value)}: {only.missing}; set it to {cure}"


def remark(key: Key) -> str:
    """What a reader of the help should know about the support of a key; usually nothing."""
    if key.path in NO_EFFECT:
        return f"(no effect: {NO_EFFECT[key.path]})"
    if key.path in ONLY:
        return f"(only {', '.join(_spell(value) for value in ONLY[key.path].values)}: {ONLY[key.path].missing})"
    return ""


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
