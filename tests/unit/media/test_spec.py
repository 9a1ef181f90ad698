# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import math
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.errors import ConfigError, ContractError, MediaError
from verl.media import spec as rules
from verl.types import ImageSpec, SourceId, VideoSpec

ROOT = Path(__file__).parents[3]
SAMPLERS = ("qwen_utils", "hf_qwen3", "hf_qwen2")
SPEC = VideoSpec(fps=2.0, max_frames=128, min_pixels=4096, max_pixels=65536)


def plain_indices(spec, total, fps):
    """The published rule in exact arithmetic; Python's round is half to even, as numpy's and torch's are."""
    wanted = total / fps * spec.fps
    wanted = min(max(wanted, spec.min_frames), spec.max_frames - spec.max_frames % 2, total)
    count = math.floor(wanted / 2) * 2
    return tuple(round(Fraction((total - 1) * i, count - 1)) for i in range(count))


def published_size(spec, frames, height, width):
    """qwen-vl-utils 0.0.14, including the floor that may exceed the total budget."""
    factor = spec.align
    total = spec.total_pixels or 128000 * factor * factor * 0.9
    high = min(spec.max_pixels, max(min(768 * factor**2, total / frames * 2), int(spec.min_pixels * 1.05)))
    h, w = (max(factor, round(side / factor) * factor) for side in (height, width))
    if h * w > high:
        beta = math.sqrt(height * width / high)
        return math.floor(height / beta / factor) * factor, math.floor(width / beta / factor) * factor
    if h * w < spec.min_pixels:
        beta = math.sqrt(spec.min_pixels / (height * width))
        return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return h, w


def test_sampling_follows_the_published_rule_for_many_lengths_and_rates():
    for fps in (1.0, 6.25, 14.45, 23.976, 25.0, 29.97, 30.0, 60.0, 120.0):
        for total in [*range(2, 400, 7), 899, 900, 901, 3600, 17982, 107892]:
            for wanted in (0.5, 1.0, 2.0, 4.0, 30.0):
                spec = replace(SPEC, fps=wanted)
                assert rules.plan_frames(spec, total, fps) == plain_indices(spec, total, fps)


@pytest.mark.parametrize(
    ("total", "fps", "expected"),
    [(900, 30.0, 60), (899, 30000 / 1001, 58), (3, 30.0, 2), (30, 30.0, 4), (36000, 30.0, 128)],
)
def test_number_of_frames_of_known_videos(total, fps, expected):
    chosen = rules.plan_frames(SPEC, total, fps)
    assert len(chosen) == expected
    assert (chosen[0], chosen[-1]) == (0, total - 1)


def test_odd_limits_are_made_even():
    assert len(rules.plan_frames(replace(SPEC, max_frames=7), 300, 30.0)) == 6
    assert len(rules.plan_frames(replace(SPEC, min_frames=5), 30, 30.0)) == 6


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_videos_keep_what_they_have(sampler, total):
    spec = replace(SPEC, sampler=sampler)
    expected = {1: (0,), 2: (0, 1), 3: {"qwen_utils": (0, 2), "hf_qwen3": (0, 1, 2), "hf_qwen2": (0, 1)}[sampler]}
    assert rules.plan_frames(spec, total, 30.0) == expected[total]
    assert rules.plan_size(spec, 1, 480, 640) == rules.plan_size(spec, 2, 480, 640)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_less_than_two_frames_of_more_are_refused(sampler):
    with pytest.raises(MediaError, match=r"too few.*raise fps or min_frames"):
        rules.plan_frames(replace(SPEC, sampler=sampler, min_frames=0, fps=0.1), 30, 30.0)
    with pytest.raises(MediaError, match="too few"):
        rules.plan_frames(replace(SPEC, sampler=sampler), 0, 30.0)


@given(
    sampler=st.sampled_from(SAMPLERS),
    total=st.integers(1, 500_000),
    fps=st.floats(0.5, 240),
    wanted=st.floats(0.1, 60),
    limits=st.tuples(st.integers(2, 16), st.integers(2, 768)),
)
def test_every_rule_draws_ascending_frames_of_the_video_within_its_limits(sampler, total, fps, wanted, limits):
    least, most = limits
    spec = replace(SPEC, sampler=sampler, fps=wanted, min_frames=least, max_frames=most)
    chosen = rules.plan_frames(spec, total, fps)
    assert chosen[0] == 0
    assert chosen[-1] < total
    assert all(before < after for before, after in pairwise(chosen))
    assert min(total, least, most) - 1 <= len(chosen) <= min(total, most)
    assert len(chosen) % 2 == 0 or total == 1 or sampler == "hf_qwen3"
    assert len(rules.plan_frames(replace(spec, fps=2 * wanted), total, fps)) >= len(chosen)


@given(
    sampler=st.sampled_from(SAMPLERS),
    frames=st.integers(1, 1200),
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    least=st.integers(1, 300_000),
    budget=st.integers(1000, 20_000_000),
)
def test_no_rule_exceeds_the_total_without_an_error(sampler, frames, height, width, least, budget):
    spec = replace(SPEC, sampler=sampler, min_pixels=least, max_pixels=least + 1_000_000, total_pixels=budget)
    try:
        chosen = rules.plan_size(spec, frames, height, width)
    except MediaError as error:
        assert "budget" in str(error) or "aspect ratio" in str(error)
        return
    assert all(side > 0 and side % spec.align == 0 for side in chosen)
    odd = frames % 4 == 1 and sampler == "hf_qwen3"  # which counts one frame less, as its processor does
    assert max(frames - odd, 2) * math.prod(chosen) <= 2 * budget


@pytest.mark.parametrize(("height", "width"), [(100, 20_000), (20_000, 100), (16, 3200), (3200, 16)])
def test_strips_are_narrowed_to_the_limit_of_a_frame(height, width):
    chosen = rules.plan_size(SPEC, 8, height, width)
    assert math.prod(chosen) <= SPEC.max_pixels
    assert min(chosen) == SPEC.align
    assert (height < width) == (chosen[0] < chosen[1])


def test_a_sampler_that_invents_a_size_breaks_its_contract(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text("class Rule:\n    def size(self, *video):\n        return (64, 50)\nrule = Rule()\n")
    with pytest.raises(ContractError, match="multiples of 32"):
        rules.plan_size(replace(SPEC, sampler=f"{plugin}:rule"), 2, 64, 50)


def test_the_sampler_is_part_of_the_key_and_of_the_command_that_builds(tmp_path):
    (tmp_path / "a.mp4").touch()
    source = rules.source_id(tmp_path / "a.mp4")
    specs = [replace(SPEC, sampler=sampler) for sampler in SAMPLERS]
    assert len({spec.cache_key(source) for spec in specs}) == len(SAMPLERS)
    assert "--sampler hf_qwen2" in rules.build_command(replace(SPEC, sampler="hf_qwen2"), "cache")


def test_a_sampler_that_leaves_the_video_breaks_its_contract(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "class Rule:\n    def frames(self, spec, total, fps):\n        return (0, total)\nrule = Rule()\n"
    )
    with pytest.raises(ContractError, match="ascending frames"):
        rules.plan_frames(replace(SPEC, sampler=f"{plugin}:rule"), 30, 30.0)


@pytest.mark.parametrize(
    ("frames", "height", "width", "spec", "expected"),
    [
        (256, 720, 1280, replace(SPEC, max_pixels=262144, total_pixels=16_777_216), (256, 480)),
        (128, 1080, 1920, replace(SPEC, max_pixels=262144), (384, 672)),
        (128, 480, 640, replace(SPEC, max_pixels=262144), (416, 576)),
        (128, 720, 1280, SPEC, (192, 320)),
        (16, 240, 320, replace(SPEC, min_pixels=262144, max_pixels=262144), (448, 608)),
    ],
)
def test_sizes_of_known_videos(frames, height, width, spec, expected):
    assert rules.plan_size(spec, frames, height, width) == expected


sides = st.integers(16, 2200)


@given(frames=st.integers(1, 400).map(lambda n: 2 * n), height=sides, width=sides, align=st.sampled_from((28, 32)))
def test_sizes_follow_the_published_rule_wherever_it_keeps_its_own_budget(frames, height, width, align):
    spec = replace(SPEC, align=align, total_pixels=8_000_000)
    published = published_size(spec, frames, height, width)
    if 0 < frames * published[0] * published[1] <= 2 * 8_000_000:
        assert rules.plan_size(spec, frames, height, width) == published


@given(
    frames=st.integers(1, 600).map(lambda n: 2 * n),
    height=sides,
    width=sides,
    total=st.integers(100_000, 20_000_000),
    least=st.integers(1024, 200_000),
)
def test_the_clip_budget_holds_whatever_the_frame_minimum(frames, height, width, total, least):
    spec = replace(SPEC, min_pixels=least, max_pixels=max(least, 262144), total_pixels=total)
    try:
        chosen = rules.plan_size(spec, frames, height, width)
    except MediaError as error:
        assert "budget" in str(error)
        return
    assert frames * chosen[0] * chosen[1] <= 2 * total
    assert all(side > 0 and side % spec.align == 0 for side in chosen)


def test_a_strip_is_refused():
    with pytest.raises(MediaError, match="aspect ratio"):
        rules.plan_size(SPEC, 2, 10, 2001)


@pytest.mark.parametrize(
    "change",
    [
        {"fps": 0},
        {"max_frames": 1},
        {"min_pixels": 100, "max_pixels": 50},
        {"min_pixels": 0},
        {"total_pixels": 0},
        {"align": 0},
        {"sampler": "qwen_util"},
    ],
)
def test_impossible_specs_are_refused(change):
    with pytest.raises(ConfigError):
        rules.check(replace(SPEC, **change))


def test_keys_of_files_are_what_they_always_were():
    source = SourceId(path="/videos/a.mp4", size=1000, mtime_ns=17)
    assert SPEC.cache_key(source) == "0a9cca0b9a9651850fa582ad0da0591e"
    image = ImageSpec(min_pixels=4096, max_pixels=65536)
    assert image.cache_key(source) == "77613c6e2ef3856b16a4fa9020315dc8"


def test_source_id_sees_through_links_and_notices_a_replaced_file(tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    (tmp_path / "link.mp4").symlink_to(file)
    first = rules.source_id(file)
    assert rules.source_id(tmp_path / "link.mp4") == first
    file.write_bytes(b"other")
    assert SPEC.cache_key(rules.source_id(file)) != SPEC.cache_key(first)


KEY = """
import sys
from verl.media.spec import source_id
from verl.types import VideoSpec
spec = VideoSpec(fps=2.0, max_frames=128, min_pixels=4096, max_pixels=65536)
for path in sys.argv[1:]:
    source = source_id(path)
    print(source.path, spec.cache_key(source))
"""


def test_one_file_has_one_key_from_everywhere(tmp_path):
    folder = tmp_path / "real" / "clips"
    folder.mkdir(parents=True)
    file = folder / "a \u00e9.mp4"
    file.write_bytes(b"one")
    (tmp_path / "link.mp4").symlink_to("real/clips/a \u00e9.mp4")
    (tmp_path / "twice.mp4").symlink_to("link.mp4")
    (tmp_path / "shortcut").symlink_to(folder)
    seen = set()
    for home, names in {
        tmp_path: (file, f"real/clips/{file.name}", "link.mp4", "twice.mp4", f"shortcut/../clips/{file.name}"),
        folder: (file.name, f"./{file.name}", f"../clips//{file.name}", "../../link.mp4", f"~/clips/{file.name}"),
    }.items():
        surroundings = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "real"), "PYTHONHASHSEED": str(len(home.name))}
        command = [sys.executable, "-c", KEY, *map(str, names)]
        run = subprocess.run(command, cwd=home, env=surroundings, capture_output=True, text=True, check=True)
        seen |= set(run.stdout.splitlines())
    assert seen == {f"{file} {SPEC.cache_key(rules.source_id(file))}"}


@pytest.mark.parametrize("name", ["missing.mp4", "/", "http://example.com/a.mp4"])
def test_what_is_no_local_file_is_named(name):
    with pytest.raises(MediaError, match=f"^{name}: "):
        rules.source_id(name)
