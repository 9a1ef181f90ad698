# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from PIL import Image

from tests.unit.media.clips import make_clip, stored
from verl.media.__main__ import main
from verl.media.cache import ClipCache
from verl.media.preview import CAPTION, GAP, LINE, TITLE, Sheet, contact_sheet, summary


def cell(picture, sheet, clip, place):
    """Pixels of one frame of the sheet."""
    height = round(sheet.width * clip.metadata.height / clip.metadata.width)
    row, column = divmod(place, sheet.columns)
    x, y = GAP + column * (sheet.width + GAP), TITLE + GAP + row * (height + CAPTION + GAP)
    return np.asarray(picture)[y : y + height, x : x + sheet.width]


def test_frames_are_shown_in_order_as_the_model_sees_them():
    clip = make_clip(frames=6)
    sheet = Sheet(columns=4, width=96, grid=False)
    picture = contact_sheet(clip, sheet)
    for place in range(6):
        assert np.array_equal(cell(picture, sheet, clip, place), clip.frames[place].transpose(1, 2, 0))


def test_long_clips_are_thinned_evenly_from_the_first_frame_to_the_last():
    clip = make_clip(frames=9)
    sheet = Sheet(columns=3, width=96, max_frames=3, grid=False)
    picture = contact_sheet(clip, sheet)
    for place, index in enumerate((0, 4, 8)):
        assert np.array_equal(cell(picture, sheet, clip, place), clip.frames[index].transpose(1, 2, 0))
    assert picture.height < 2 * (64 + CAPTION + GAP) + TITLE


def test_the_grid_is_that_of_the_tokens():
    clip = make_clip(frames=2, height=64, width=96)
    sheet = Sheet(columns=2, width=192, align=32)
    found = cell(contact_sheet(clip, sheet), sheet, clip, 0)
    assert [x for x in range(192) if (found[:, x] == LINE).all()] == [64, 128]
    assert [y for y in range(128) if (found[y] == LINE).all()] == [64]


def test_the_numbers_are_those_of_the_clip():
    clip = make_clip(frames=5, height=64, width=96)
    line = summary(clip, Sheet(align=32), 5)
    assert line == ("5 of 5 frames, 64x96 pixels (of 128x192), 2.50 per second of 2.0 s; 3 x 2 x 3 = 18 tokens")


@pytest.mark.parametrize("codec", ["raw", "zrow"])
def test_the_command_writes_a_png_of_an_entry(tmp_path, codec, capsys):
    path = stored(ClipCache(tmp_path / "cache", codec))
    output = tmp_path / "sheet.png"
    assert main(["preview", str(path), "--output", str(output), "--columns", "2", "--width", "100"]) == 0
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        assert picture.width == 2 * (100 + GAP) + GAP
    assert main(["preview", str(tmp_path / "missing.safetensors"), "--output", str(output)]) == 1
    assert "does not exist" in capsys.readouterr().err
