# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the environment of the processes, and the order in which tests run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests import typecheck

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run beside each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded

install_import_hook("verl.algorithms", f"{typecheck.__name__}.check")
settings.register_profile("verl", deadline=None, max_examples=60)  # the first example pays for imports
settings.load_profile("verl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first; those that start processes last; those for a GPU only where there is one."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is not None)
    for item in items:
        if item.get_closest_marker("gpu") is not None and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
