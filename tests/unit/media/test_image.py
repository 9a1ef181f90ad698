# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Images: sizes and pixels against transformers' own loader and image processor."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor, smart_resize

from verl.errors import ConfigError, MediaError
from verl.media import image
from verl.media.source import ClipReader, load
from verl.types import ImageSpec

SPEC = ImageSpec(min_pixels=4096, max_pixels=65536)


def picture(path: Path, height: int, width: int, mode: str = "RGB", **options) -> Path:
    """Smooth colours with noise on them, so that every rule of resizing shows."""
    rng = np.random.default_rng(height * 1009 + width)
    rows, columns = np.mgrid[0:height, 0:width]
    slopes = np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) % 256, rows % 256], axis=-1)
    pixels = np.clip(slopes + rng.normal(0, 20, slopes.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels[..., :3]) if mode != "RGBA" else Image.fromarray(pixels, "RGBA")
    image = image if mode in ("RGB", "RGBA") else image.convert(mode)
    image.save(path, **options)
    return path


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def seen_by_transformers(path: Path, spec: ImageSpec) -> np.ndarray:
    """[3, H, W] uint8 after the processor's resize."""
    processor = Qwen2VLImageProcessor(
        size={"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels}, patch_size=16, merge_size=2
    )
    out = processor(load_image(str(path)), do_rescale=False, do_normalize=False, return_tensors="pt")
    _, height, width = (int(n) for n in out["image_grid_thw"][0])
    blocks = out["pixel_values"].reshape(height // 2, width // 2, 2, 2, 3, 2, 16, 16)[:, :, :, :, :, 0]
    return blocks.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, height * 16, width * 16).numpy().astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "height", "width", "options"),
    [
        ("large.png", 700, 500, {}),
        ("small.png", 20, 30, {}),
        ("fitting.png", 64, 96, {}),
        ("odd.jpg", 333, 101, {}),
        ("wide.webp", 40, 1000, {}),
        ("thin.png", 10, 500, {}),
        ("palette.png", 90, 120, {"mode": "P"}),
        ("grey.png", 90, 120, {"mode": "L"}),
        ("alpha.png", 90, 120, {"mode": "RGBA"}),
        ("print.jpg", 90, 120, {"mode": "CMYK"}),
        ("turned.jpg", 80, 200, {"exif": oriented(6)}),
        ("turned.png", 80, 200, {"exif": oriented(8)}),
        ("mirrored.webp", 80, 200, {"exif": oriented(5)}),
    ],
)
def test_pixels_are_those_that_transformers_sees(tmp_path, name: str, height: int, width: int, options):
    path = picture(tmp_path / name, height, width, **options)
    clip = image.decode(str(path), SPEC)
    assert np.array_equal(clip.frames[0], seen_by_transformers(path, SPEC))
    assert image.probe(str(path), SPEC) == clip.metadata


@pytest.mark.parametrize("orientation", range(9))
def test_an_image_is_upright_whatever_the_camera_wrote(tmp_path, orientation: int):
    path = picture(tmp_path / "i.png", 64, 128, exif=oriented(orientation))
    metadata = image.probe(str(path), SPEC)
    assert metadata.orientation == max(orientation, 1)
    upright = (128, 64) if orientation >= 5 else (64, 128)
    assert (metadata.source_height, metadata.source_width) == upright == (metadata.height, metadata.width)
    assert np.array_equal(image.decode(str(path), SPEC).frames[0], seen_by_transformers(path, SPEC))


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    low=st.integers(1, 1 << 20),
    span=st.floats(1.0, 64.0),
    align=st.sampled_from([28, 32]),
)
def test_sizes_are_those_of_transformers(height, width, low, span, align):
    spec = ImageSpec(min_pixels=low, max_pixels=int(low * span), align=align)
    try:
        theirs = smart_resize(height, width, align, spec.min_pixels, spec.max_pixels)
    except ValueError:
        with pytest.raises(MediaError, match="aspect ratio"):
            image.plan_size(spec, height, width)
        return
    assert image.plan_size(spec, height, width) == theirs


@given(height=st.integers(32, 3000), width=st.integers(32, 3000))
def test_limits_hold_for_ordinary_shapes(height, width):
    assume(max(height, width) <= 8 * min(height, width))
    planned = image.plan_size(SPEC, height, width)
    assert SPEC.min_pixels <= planned[0] * planned[1] <= SPEC.max_pixels
    assert planned[0] % 32 == planned[1] % 32 == 0


def test_the_size_is_known_without_the_pixels(tmp_path):
    path = picture(tmp_path / "i.jpg", 400, 600, exif=oriented(6))
    whole = image.probe(str(path), SPEC)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[:2000])
    assert image.probe(str(cut), SPEC) == whole
    with pytest.raises(MediaError, match=r"cut\.jpg: cannot be read as an image: .*truncated"):
        image.decode(str(cut), SPEC)


def test_a_reference_loads_to_what_it_said(tmp_path):
    path = picture(tmp_path / "i.png", 90, 120)
    source = image.ImageSource(SPEC)
    ref = source.ref(path)
    assert (ref.kind, ref.entry, ref.metadata) == ("image", None, source.measure(path))
    assert np.array_equal(load(ref).frames, image.decode(str(path), SPEC).frames)
    reader = ClipReader()
    assert reader.load(ref) is reader.load(ref)
    assert (reader.opens, reader.distinct) == (1, 1)


def test_a_key_stands_for_one_recipe_and_one_file(tmp_path, monkeypatch):
    path = picture(tmp_path / "i.png", 90, 120)
    (tmp_path / "link.png").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    key = image.ImageSource(SPEC).ref(path).key
    assert {image.ImageSource(SPEC).ref(name).key for name in ("i.png", "link.png")} == {key}
    others = [ImageSpec(min_pixels=4096, max_pixels=65537), ImageSpec(min_pixels=4096, max_pixels=65536, align=28)]
    keys = {image.ImageSource(spec).ref(path).key for spec in others}
    os.utime(path, ns=(1, 1))
    assert len({key, *keys, image.ImageSource(SPEC).ref(path).key}) == 4


def test_a_file_replaced_after_its_reference_is_refused(tmp_path):
    ref = image.ImageSource(SPEC).ref(picture(tmp_path / "i.png", 90, 120))
    picture(tmp_path / "i.png", 90, 121)
    with pytest.raises(MediaError, match="has changed since its prompt was made"):
        load(ref)


def test_what_is_no_single_image_is_refused_by_name(tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    picture(tmp_path / "line.png", 2, 1000)
    for name, reason in (
        ("moving.gif", "holds several pictures"),
        ("text.png", "cannot be read as an image"),
        ("empty.png", "cannot be read as an image"),
        ("line.png", "aspect ratio of 2x1000 exceeds 200"),
        ("none.png", "cannot open this file"),
    ):
        with pytest.raises(MediaError, match=rf"{name}: .*{reason}"):
            image.ImageSource(SPEC).ref(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
def test_damaged_files_give_media_errors_and_nothing_else(tmp_path, suffix: str):
    whole = picture(tmp_path / f"whole.{suffix}", 60, 80).read_bytes()
    rng = random.Random(suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for round_ in range(60):
            damaged = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                damaged[rng.randrange(min(len(damaged), 400 if round_ % 2 else len(damaged)))] = rng.randrange(256)
            file = tmp_path / f"damaged.{suffix}"
            file.write_bytes(damaged)
            try:
                clip = image.decode(str(file), SPEC)
            except MediaError:
                continue
            assert clip.frames.shape == (1, 3, clip.metadata.height, clip.metadata.width)


@pytest.mark.parametrize(
    "spec",
    [
        ImageSpec(min_pixels=10, max_pixels=9),
        ImageSpec(min_pixels=0, max_pixels=9),
        ImageSpec(min_pixels=1, max_pixels=9, align=0),
        ImageSpec(min_pixels=1, max_pixels=9, resize="magic"),
    ],
)
def test_a_spec_that_cannot_work_is_refused(spec: ImageSpec):
    with pytest.raises(ConfigError):
        image.ImageSource(spec)
