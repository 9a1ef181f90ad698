# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The files a user starts from are understood."""

from pathlib import Path

import pytest

from verl.config.load import load
from verl.config.support import unsupported
from verl.data.templates import Template

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda file: file.name)
def test_an_example_recipe_loads_and_asks_for_nothing_that_is_missing(file: Path):
    config = load([f"config={file}"])
    assert list(unsupported(config)) == []
    if config.data.format_prompt is not None and not config.data.format_prompt.startswith("/"):
        Template(str(ROOT / config.data.format_prompt))


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.jinja")), ids=lambda file: file.name)
def test_an_example_template_is_one(file: Path):
    Template(str(file))
