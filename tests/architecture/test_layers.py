# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, and which third party lives where."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.sources import ROOT, imports, name, python, room, tree

LAYERS = (
    {"errors"},
    {"types", "registry"},
    {"config"},
    {"media", "scoring", "algorithms", "cluster", "tracking"},
    {"models", "rewards"},
    {"data", "fsdp", "rollout", "checkpoint"},
    {"workers"},
    {"trainer"},
)
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}

ONLY_IN = {
    "ray": {"cluster", "workers", "trainer"},
    "vllm": {"rollout"},
    "transformers": {"models", "data", "fsdp", "checkpoint"},
    "omegaconf": {"config"},
    "peft": {"models"},
    "yaml": {"config"},
    "av": {"media"},
    "decord": {"media"},
    "torchcodec": {"media"},
    "cv2": {"media"},
    "torchvision": {"media"},
    "flash_attn": {"models", "fsdp"},
    "matplotlib": {"tracking"},
}
ONE_FILE = {
    "wandb": "verl/tracking/backends/wandb.py",
    "tensorboard": "verl/tracking/backends/tensorboard.py",
    "matplotlib": "verl/tracking/curve.py",
    "decord": "verl/media/decord_decoder.py",
    "torchcodec": "verl/media/torchcodec_decoder.py",
}
WITHOUT_TORCH = ("types", "errors", "registry", "config", "scoring", "rewards")
OUTSIDE = {"eval", "scripts", "examples", "tests"}


def breaches(module: ast.Module, where: str, here: str) -> Iterator[str]:
    """What a file in the room `here` imports and may not."""
    for line, imported in imports(module):
        top, *rest = imported.split(".")
        at = f"{where}:{line}"
        if top == "":
            yield f"{at}: relative import {imported}"
        if top in OUTSIDE:
            yield f"{at}: the package imports {imported}"
        if top == "verl" and rest and here and rest[0] in RANK and rest[0] != here and RANK[rest[0]] >= RANK[here]:
            yield f"{at}: {here} imports {rest[0]}, which is not below it"
        if top in ONLY_IN and here not in ONLY_IN[top]:
            yield f"{at}: {top} belongs to {', '.join(sorted(ONLY_IN[top]))}"
        if ONE_FILE.get(top, where) != where:
            yield f"{at}: {top} belongs to {ONE_FILE[top]}"
        if top == "torch" and here in WITHOUT_TORCH:
            yield f"{at}: {here} needs no torch"


def test_a_module_imports_its_own_package_or_a_lower_layer_and_third_parties_stay_home() -> None:
    found = [breach for path in python("verl") for breach in breaches(tree(path), name(path), room(path))]
    assert not found, "\n".join(found)


def test_every_part_of_the_package_has_a_layer() -> None:
    unknown = {room(path) for path in python("verl")} - set(RANK) - {""}
    assert not unknown


@pytest.mark.parametrize(
    ("line", "here", "complaint"),
    [
        ("from verl.trainer import loop", "media", "media imports trainer, which is not below it"),
        ("import verl.media.spec", "scoring", "scoring imports media, which is not below it"),
        ("def f():\n    import ray", "media", "ray belongs to"),
        ("from ray import get", "fsdp", "ray belongs to"),
        ("from torch import nn", "rewards", "needs no torch"),
        ("from . import loop", "trainer", "relative import"),
        ("import scripts.bench", "trainer", "the package imports"),
        ("import wandb", "tracking", "wandb belongs to"),
    ],
)
def test_the_checker_sees_a_breach(line: str, here: str, complaint: str) -> None:
    assert complaint in "\n".join(breaches(ast.parse(line), f"verl/{here}/somewhere.py", here))


def test_what_needs_no_torch_loads_none() -> None:
    """Not even through something else, nor any other heavy library."""
    modules = [
        name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in python("verl")
        if room(path) in WITHOUT_TORCH
    ]
    heavy = ("torch", "ray", "vllm", "transformers", "matplotlib")
    program = (
        f"import importlib, sys\n"
        f"for module in {modules!r}: importlib.import_module(module)\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
