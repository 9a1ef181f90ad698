# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The tiny models, read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoProcessor

from tests.world import tiny_model
from verl.models.adapter import ModelAdapter, load_adapter


@pytest.fixture(scope="session")
def vision_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture(scope="session")
def adapter(vision_folder: Path) -> ModelAdapter:
    return load_adapter(str(vision_folder))


@pytest.fixture(scope="session")
def text_adapter(text_folder: Path) -> ModelAdapter:
    return load_adapter(str(text_folder))


@pytest.fixture(scope="session")
def processor(vision_folder: Path):
    """transformers' own processor: the oracle for ids, grids and pixels."""
    return AutoProcessor.from_pretrained(vision_folder, local_files_only=True)
