# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from verl.config.load import load
from verl.config.lora import lora_problems

MODEL = "worker.actor.model"
FROZEN = [f"{MODEL}.freeze_language_model=true", f"{MODEL}.freeze_vision_tower=true"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lora.rank=-1"], "lora.rank=-1: must not be negative"),
        (["lora.rank=4", "lora.alpha=0"], "lora.alpha=0: must be above 0"),
        (["lora.rank=4", "lora.target_modules=[]"], "lora.target_modules is empty"),
        (["lora.sync=adapter"], "lora.sync=adapter: there are no adapters"),
        (["lora.rank=513", "lora.sync=adapter"], "lora.rank=513: engines take 512 at most"),
        (["freeze_language_model=true", "freeze_vision_tower=true"], "leave nothing to train"),
    ],
)
def test_a_broken_rule_is_named(arguments: list[str], message: str) -> None:
    (found,) = lora_problems(load([f"{MODEL}.{one}" for one in arguments]))
    assert message in found


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [f"{MODEL}.lora.rank=1024"],
        [f"{MODEL}.lora.rank=64", f"{MODEL}.lora.sync=adapter"],
        [*FROZEN, f"{MODEL}.freeze_merger=false"],
        FROZEN[:1],
    ],
)
def test_what_goes_together_breaks_no_rule(arguments: list[str]) -> None:
    assert list(lora_problems(load(arguments))) == []


def test_upstreams_spelling_of_layers_is_understood() -> None:
    lora = load([f"{MODEL}.lora.target_modules=all-linear", f"{MODEL}.lora.exclude_modules=.*visual.*"])
    assert lora.worker.actor.model.lora.target_modules == ("all-linear",)
    assert lora.worker.actor.model.lora.exclude_modules == (".*visual.*",)
