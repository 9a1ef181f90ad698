# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from examples.quickstart.report import _modalities


def test_accuracy_is_told_by_modality_where_there_are_several() -> None:
    steps = [
        {
            "val/by_modality/video/accuracy": 0.25,
            "val/by_modality/text/accuracy": 0.5,
            "val/by_modality/text/overall": 9.0,
        },
        {"reward/by_modality/video/accuracy": 0.6},
        {"val/by_modality/video/accuracy": 1.0, "val/by_modality/text/accuracy": 0.75},
    ]
    assert _modalities(steps) == [
        ("validation accuracy, text", "0.50 to 0.75"),
        ("validation accuracy, video", "0.25 to 1.00"),
    ]
    assert _modalities([{"val/by_modality/video/accuracy": 0.25}]) == []
