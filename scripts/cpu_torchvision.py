# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""WORKAROUND: lets a CUDA build of torchvision be imported beside a CPU build of torch.

PyPI has no CPU build of torchvision. The CUDA build cannot load its operators without CUDA, and its import then
fails because two of them are unknown by name; its transforms, which are all we use, need none of them. So the
names are defined first. `setup.sh` puts this file and a line that calls `install` into site-packages, where every
process finds it, and only when torchvision does not import without. Delete it when PyPI has CPU builds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_operators: Any = None  # the definitions live as long as this does


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; defines the names when torchvision is first looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _define()
        return None


def _define() -> None:
    global _operators
    import torch
    from torch import library

    if torch.version.cuda is None:
        _operators = library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            _operators.define(schema)


def install() -> None:
    """Watch for the import of torchvision. Python may read a .pth file more than once."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())
