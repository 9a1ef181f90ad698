# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.media.clips import make_clip
from tests.videos import VideoRecipe, numbered_video
from verl.errors import MediaError
from verl.media import decode
from verl.media.__main__ import main
from verl.media.cache import ClipCache
from verl.media.entry import read_header, verify
from verl.media.legacy import convert, load_clip
from verl.media.source import MediaSource, SourceMode, load

VERSION = "qwen3vl_patch16_v1"


def save(path, clip, *, metadata=None, **changes):
    """What the reference's builder writes for these frames."""
    told = {
        "fps": clip.metadata.source_fps,
        "frames_indices": list(clip.metadata.frame_indices),
        "total_num_frames": clip.metadata.total_frames,
        "video_backend": "decord",
    }
    content = {
        "frames": torch.from_numpy(clip.frames).float(),
        "metadata": told | (metadata or {}),
        "sample_fps": clip.metadata.sampled_fps,
        "preprocess_version": VERSION,
    }
    torch.save(content | changes, path)
    return path


@pytest.fixture
def clip():
    return make_clip()


def test_frames_and_numbers_come_back_and_what_is_not_told_is_marked(tmp_path, clip):
    found = load_clip(save(tmp_path / "a.pt", clip))
    assert np.array_equal(found.frames, clip.frames)
    told = found.metadata
    assert told.frame_indices == clip.metadata.frame_indices
    assert told.timestamps == clip.metadata.timestamps
    assert (told.source_fps, told.total_frames, told.duration) == (25.0, 40, 1.6)
    assert (told.height, told.width, told.source_height, told.source_width) == (64, 96, 0, 0)
    assert (told.decoder, told.sampler, told.resize) == ("decord", "qwen-vl-utils", "qwen-vl-utils")


def test_frame_numbers_may_be_a_tensor_and_the_backend_unknown(tmp_path, clip):
    numbers = torch.tensor(clip.metadata.frame_indices)
    path = save(tmp_path / "a.pt", clip, metadata={"frames_indices": numbers, "video_backend": None})
    assert load_clip(path).metadata.frame_indices == clip.metadata.frame_indices
    assert load_clip(path).metadata.decoder == "unknown"


@pytest.mark.parametrize("value", [0.5, 255.5, 256.0, -1.0, float("nan"), float("inf")])
def test_values_that_are_no_pixels_are_refused(tmp_path, clip, value):
    frames = torch.from_numpy(clip.frames).float()
    frames[2, 1, 3, 3] = value
    with pytest.raises(MediaError, match=r"frame 2 has values other than"):
        load_clip(save(tmp_path / "a.pt", clip, frames=frames))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"frames": None}, "not a float32 tensor"),
        ({"frames": torch.zeros(4, 64, 96)}, r"are \[4, 64, 96\]"),
        ({"frames": torch.zeros(1, 1, 1, 1).expand(4, 3, 60000, 60000)}, "not stored one after another"),
        ({"metadata": {"fps": 0.0}}, "fps 0.0"),
        ({"metadata": {"fps": "25"}}, "fps '25'"),
        ({"metadata": {"total_num_frames": 20}}, "not ascending ones of 20"),
        ({"metadata": {"frames_indices": [0, 1, 2]}}, "does not number its 4 frames"),
        ({"metadata": {"frames_indices": [0, 2, 1, 3]}}, "not ascending"),
        ({"preprocess_version": torch.nn.Linear(1, 1)}, "names 'torch.nn.modules.linear Linear'"),
        ({"preprocess_version": bytearray(8)}, "names '(builtins|__builtin__) bytearray'"),
    ],
)
def test_anything_but_a_clip_is_refused_by_name(tmp_path, clip, changes, complaint):
    with pytest.raises(MediaError, match=rf"a\.pt.*{complaint}"):
        load_clip(save(tmp_path / "a.pt", clip, **changes))


def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(tmp_path, clip):
    victim = tmp_path / "victim"
    victim.touch()
    path = save(tmp_path / "a.pt", clip)
    program = f"cposix\nunlink\n(S'{victim}'\ntR.".encode()
    hostile = tmp_path / "hostile.pt"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(hostile, "w") as bad:
        for one in good.infolist():
            bad.writestr(one, program if one.filename.endswith("data.pkl") else good.read(one))
    with pytest.raises(MediaError, match="names 'posix unlink'"):
        load_clip(hostile)
    assert victim.exists()
    bare = tmp_path / "bare.pt"
    bare.write_bytes(program)
    with pytest.raises(MediaError, match="not a clip of the reference"):
        load_clip(bare)
    assert victim.exists()


def test_a_file_that_would_grow_is_refused(tmp_path, clip):
    path = save(tmp_path / "a.pt", clip)
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bad:
        for one in good.infolist():
            bad.writestr(one.filename, good.read(one))
    with pytest.raises(MediaError, match="compressed"):
        load_clip(packed)


def test_missing_and_truncated_files_are_refused(tmp_path, clip):
    with pytest.raises(MediaError, match="does not exist"):
        load_clip(tmp_path / "missing.pt")
    path = save(tmp_path / "a.pt", clip)
    for keep in (0, 100, -1000, -1):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(MediaError, match="not a clip of the reference"):
            load_clip(path)


def test_a_clip_whose_frames_are_those_of_the_recipe_becomes_an_entry(tmp_path, video, spec):
    ours = decode.decode(str(video), spec)
    theirs = replace(ours, frames=(ours.frames // 2 * 2))  # another rounding
    path = save(tmp_path / "a.pt", theirs)
    cache = ClipCache(tmp_path / "cache")
    report = convert([(str(video), str(path))], cache, spec)
    assert (report.converted, report.reused, report.compared, report.failed) == (1, 0, 1, ())
    ref = MediaSource(SourceMode.PREPROCESSED_ONLY, cache.root, spec).ref(video)
    assert np.array_equal(load(ref).frames, theirs.frames)
    header = read_header(cache.find(ref.key))
    assert header.metadata.decoder == "decord"
    assert (header.metadata.source_height, header.metadata.source_width) == (72, 96)
    assert "qwen-vl-utils" in header.tools["origin"]
    verify(cache.find(ref.key))
    assert convert([(str(video), str(path))], cache, spec).reused == 1


def test_a_clip_of_other_frames_or_another_size_is_refused(tmp_path, video, spec):
    path = save(tmp_path / "a.pt", decode.decode(str(video), spec))
    cache = ClipCache(tmp_path / "cache")
    for wanted, complaint in ((replace(spec, fps=4), "frame_indices"), (replace(spec, max_pixels=4096), "height")):
        ((_, reason),) = convert([(str(video), str(path))], cache, wanted).failed
        assert complaint in reason
    longer = numbered_video(tmp_path / "longer.mp4", VideoRecipe(num_frames=61))
    ((_, reason),) = convert([(str(longer), str(path))], cache, spec).failed
    assert "total_frames 60 instead of 61" in reason
    assert not cache.root.exists()


def test_a_clip_with_wrong_pictures_ends_the_conversion(tmp_path, video, spec):
    ours = decode.decode(str(video), spec)
    path = save(tmp_path / "a.pt", replace(ours, frames=np.roll(ours.frames, 1, axis=0)))
    cache = ClipCache(tmp_path / "cache")
    with pytest.raises(MediaError, match="shows other pictures"):
        convert([(str(video), str(path))], cache, spec)
    assert not cache.root.exists()
    assert convert([(str(video), str(path))], cache, spec, compare_every=0).converted == 1


def test_the_command_converts_what_a_data_file_names(tmp_path, video, spec, capsys):
    save(tmp_path / "clips.pt", decode.decode(str(video), spec))
    data = tmp_path / "data.jsonl"
    row = {"videos": [video.name], "preprocessed_video": "clips.pt"}
    data.write_text(json.dumps(row) + "\n" + json.dumps({"problem": "text"}))
    flags = ["--image_dir", str(tmp_path), "--clips_dir", str(tmp_path), "--video_fps", "8", "--video_max_frames", "16"]
    flags += ["--video_min_pixels", "1024", "--video_max_pixels", "9216"]
    assert main(["convert", str(data), str(tmp_path / "cache"), *flags]) == 0
    assert "1 converted, 0 found in the cache, 0 refused; 1 compared" in capsys.readouterr().out
    assert main(["stats", str(tmp_path / "cache")]) == 0
    assert "codec raw (qwen-vl-utils, decord): 1 entries" in capsys.readouterr().out
    assert main(["preview", str(tmp_path / "clips.pt"), "--output", str(tmp_path / "sheet.png")]) == 0
