# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from tests.videos import numbered_video
from verl.types import VideoSpec


@pytest.fixture
def spec():
    return VideoSpec(fps=8, max_frames=16, min_pixels=32 * 32, max_pixels=96 * 96, align=32)


@pytest.fixture
def decord_spec(spec):
    pytest.importorskip("decord")
    return replace(spec, decoder="decord")


@pytest.fixture
def video(tmp_path):
    return numbered_video(tmp_path / "numbered.mp4")
