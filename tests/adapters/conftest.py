# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny model of each family, read once. Every test that asks for `family` runs for all of them.

A test that asks for `seeing` runs for the families that read media.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

from tests.adapters.families import FAMILIES, WITH_MEDIA, Family
from tests.world import tiny_model
from verl.models.adapter import ModelAdapter, load_adapter


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(params=WITH_MEDIA, ids=str)
def seeing(request: pytest.FixtureRequest) -> Family:
    return request.param


class Library:
    """Folders, adapters and processors by family."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folder = cache(self._folder)
        self.adapter = cache(self._adapter)
        self.processor = cache(self._processor)

    def _folder(self, family: Family) -> Path:
        return tiny_model(self._root / family.name, family.name)

    def _adapter(self, family: Family) -> ModelAdapter:
        return load_adapter(str(self.folder(family)))

    def _processor(self, family: Family) -> Any:
        """transformers' own: an oracle for ids, grids and pixels."""
        return AutoProcessor.from_pretrained(self.folder(family), local_files_only=True)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("families"))
