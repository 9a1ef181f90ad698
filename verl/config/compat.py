# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Spellings of upstream that are still understood, rewritten to ours before any checking."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from verl.config.keys import Key
from verl.config.model import DtypeName

logger = logging.getLogger(__name__)

_SAME = {"algorithm.norm_adv_by_std_in_grpo": "algorithm.norm_adv_by_std"}  # other names, with the same values
RENAMED: dict[str, str] = {"data.use_preprocessed_videos": "data.video_source_mode", **_SAME}  # old key: its heir

_AVERAGES = {  # of worker.actor.loss_avg_mode, as verl writes them
    "token-mean": "token",
    "token-sum": "sum",
    "seq-mean-token-mean": "seq",
    "seq-mean-token-sum": "seq_sum",
    "seq-mean-token-sum-norm": "seq_norm",
}
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value somebody wrote, and where."""

    value: Any
    origin: str  # "in run.yaml" or "on the command line"


def modernise(given: Mapping[str, Given], keys: Mapping[str, Key]) -> dict[str, Given]:
    """The same settings under their present names and spellings. A deprecated key is warned about once."""
    modern = {path: item for path, item in given.items() if path not in RENAMED}
    for old, heir in _SAME.items():
        if old in given and heir not in modern:
            modern[heir] = given[old]
    mode = modern.get("data.video_source_mode")
    if mode is not None and mode.value is None:
        del modern["data.video_source_mode"]
    switch = given.get("data.use_preprocessed_videos")
    if switch is not None:
        logger.warning("data.use_preprocessed_videos is deprecated; set data.video_source_mode instead")
        if "data.video_source_mode" not in modern and switch.value is not None:
            modern["data.video_source_mode"] = replace(switch, value=_source_mode(switch.value))
    return {path: replace(item, value=_respell(item.value, keys[path])) for path, item in modern.items()}


def _source_mode(use_preprocessed: Any) -> Any:
    known = {"true": "prefer_preprocessed", "false": "realtime_only"}
    return known.get(str(use_preprocessed).lower(), use_preprocessed)


def _respell(value: Any, key: Key) -> Any:
    """A lone string is a list of one, null is an empty list, and types may be written as torch does."""
    if key.is_sequence and value in (None, ""):
        return []
    if key.is_sequence and isinstance(value, str):
        return [part.strip() for part in value.split(",")] if key.path.endswith("_modules") else [value]
    if isinstance(value, str) and (key.type == DtypeName or DtypeName in get_args(key.type)):
        return _DTYPES.get(value, value)
    if isinstance(value, str) and key.path.endswith(".loss_avg_mode"):
        return _AVERAGES.get(value, value)
    if key.type is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e8
    return value
