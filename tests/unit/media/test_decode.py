# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import builtins
import random
import socket
from dataclasses import replace

import av
import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import ConfigError, MediaError
from verl.media import pyav_decoder
from verl.media.decode import decode, probe

FILES = {
    "b_frames.mp4": VideoRecipe(),
    "one_gop.mp4": VideoRecipe(num_frames=150, gop=250, b_frames=3),
    "short_gops.mp4": VideoRecipe(num_frames=150, gop=5, b_frames=1),
    "no_b_frames.mkv": VideoRecipe(b_frames=0),
    "open_gop.mp4": VideoRecipe(num_frames=150, options={"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}),
    "odd_size.mp4": VideoRecipe(width=97, height=73),
    "portrait.mp4": VideoRecipe(width=64, height=128),
    "three_frames.mp4": VideoRecipe(num_frames=3),
    "two_frames.mp4": VideoRecipe(num_frames=2),
    "turned_90.mp4": VideoRecipe(rotation=90),
    "turned_180.mp4": VideoRecipe(rotation=180),
    "turned_270.mkv": VideoRecipe(rotation=270, width=64, height=96),
    "transport.ts": VideoRecipe(),
    "vp9.webm": VideoRecipe(codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}),
    "old.avi": VideoRecipe(codec="mpeg4", options={"b": "2M"}),
    "program.mpg": VideoRecipe(codec="mpeg2video", options={"b": "2M"}),
    "uneven.mp4": VideoRecipe(times=[i / 30 + (i // 7) * 0.4 for i in range(60)]),
    "uneven.mkv": VideoRecipe(times=[i / 30 + (i // 7) * 0.4 for i in range(60)]),
}
DECORD_IS_RIGHT = ["b_frames.mp4", "one_gop.mp4", "short_gops.mp4", "no_b_frames.mkv", "odd_size.mp4", "vp9.webm"]


def numbers(clip):
    return tuple(read_number(frame) for frame in clip.frames)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fps", [1, 7, 30])
def test_pyav_returns_the_frames_it_names(tmp_path, spec, name, fps):
    path = str(numbered_video(tmp_path / name, FILES[name]))
    spec = replace(spec, fps=fps, max_frames=40)
    clip = decode(path, spec)
    assert numbers(clip) == clip.metadata.frame_indices
    assert probe(path, spec) == clip.metadata


@pytest.mark.parametrize("name", DECORD_IS_RIGHT)
def test_decord_returns_the_frames_it_names(tmp_path, decord_spec, name):
    path = str(numbered_video(tmp_path / name, FILES[name]))
    clip = decode(path, decord_spec)
    assert numbers(clip) == clip.metadata.frame_indices
    assert probe(path, decord_spec) == clip.metadata


def test_both_decoders_give_the_same_pixels_and_numbers(tmp_path, spec, decord_spec):
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(num_frames=90, width=64, height=96)))
    ours, theirs = decode(path, spec), decode(path, decord_spec)
    assert np.array_equal(ours.frames, theirs.frames)
    times = theirs.metadata.timestamps
    assert times == pytest.approx(ours.metadata.timestamps, abs=1e-6)
    assert replace(theirs.metadata, decoder="pyav", timestamps=ours.metadata.timestamps) == ours.metadata


def test_decord_refuses_a_turned_video_instead_of_guessing(tmp_path, decord_spec):
    path = str(numbered_video(tmp_path / "a.mkv", VideoRecipe(rotation=180)))
    with pytest.raises(MediaError, match=r"180 degrees.*pyav"):
        probe(path, decord_spec)


def test_metadata_tells_where_frames_came_from(tmp_path, spec):
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(num_frames=75, fps=25, width=160, height=96)))
    found = probe(path, replace(spec, fps=2, max_pixels=64 * 96))
    assert (found.total_frames, found.source_fps, found.duration) == (75, 25.0, 3.0)
    assert found.frame_indices == (0, 15, 30, 44, 59, 74)
    assert found.timestamps == tuple(index / 25 for index in found.frame_indices)
    assert (found.source_height, found.source_width, found.rotation) == (96, 160, 0)
    assert (found.height, found.width) == (32, 96)
    assert (found.sampler, found.decoder, found.resize) == ("qwen_utils", "pyav", "tv2-u8-bicubic-aa")


def test_rotation_is_applied_and_told(tmp_path, spec):
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(rotation=90, width=64, height=96)))
    found = decode(path, spec).metadata
    assert (found.source_height, found.source_width, found.rotation) == (96, 64, 90)


def test_uneven_frame_times_are_kept(tmp_path, spec):
    path = str(numbered_video(tmp_path / "a.mp4", FILES["uneven.mp4"]))
    found = probe(path, replace(spec, fps=60, max_frames=60))
    assert found.timestamps == pytest.approx(FILES["uneven.mp4"].times, abs=1e-4)
    assert found.source_fps == pytest.approx(59 / FILES["uneven.mp4"].times[-1], rel=1e-4)


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_rounded_container_times_do_not_disturb_the_frame_rate(tmp_path, spec, rate):
    path = str(numbered_video(tmp_path / "a.mkv", VideoRecipe(num_frames=41, fps=rate)))  # milliseconds
    assert probe(path, spec).source_fps == rate


def test_sparse_sampling_decodes_a_part_of_the_file_only(tmp_path, spec, monkeypatch):
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(num_frames=240, gop=30)))
    decoded = []
    needed = pyav_decoder._needed
    monkeypatch.setattr(
        pyav_decoder, "_needed", lambda *given: (decoded.append(1) or frame for frame in needed(*given))
    )
    monkeypatch.setattr(pyav_decoder, "_sweep", lambda *given: pytest.fail("decoded from the beginning"))
    clip = decode(path, replace(spec, fps=0.5))
    assert numbers(clip) == clip.metadata.frame_indices == (0, 80, 159, 239)
    assert 4 <= len(decoded) < 80


@pytest.mark.parametrize("liar", ["_seek", "_sweep"])
def test_a_decoder_that_contradicts_the_packets_is_numbered_by_what_it_returns(video, spec, monkeypatch, liar):
    def disagree(container, table, indices):
        raise pyav_decoder._MismatchError("not what was promised")
        yield

    honest = decode(str(video), spec)
    monkeypatch.setattr(pyav_decoder, liar, disagree)
    monkeypatch.setattr(pyav_decoder, "_seek", disagree)
    clip = decode(str(video), spec)
    assert np.array_equal(clip.frames, honest.frames)
    assert clip.metadata == honest.metadata


def damaged(data, kind):
    if kind == "empty":
        return b""
    if kind == "page":
        return b"<html>not found</html>" * 50
    if kind == "half":
        return data[: len(data) // 2]
    start = len(data) // 3
    hole = bytes(400) if kind == "hole" else random.Random(0).randbytes(400)
    return data[:start] + hole + data[start + 400 :]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mp4", kind) for kind in ("empty", "page", "half", "hole", "noise")]
    + [("a.mkv", "hole"), ("a.mkv", "noise"), ("a.avi", "half")],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path, spec, name, kind):
    recipe = VideoRecipe(num_frames=90, width=192, height=144)
    if name == "a.avi":
        recipe = replace(recipe, codec="mpeg4", options={"b": "2M"})
    path = numbered_video(tmp_path / name, recipe)
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(MediaError, match=rf"{name}: .*(damaged|incomplete|no frame)"):
        decode(str(path), spec)


def test_a_file_without_pictures_is_named(tmp_path, spec):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match=r"sound\.mp4: has no video stream"):
        probe(str(path), spec)


def test_a_playlist_cannot_reach_the_network(tmp_path, spec):
    path = tmp_path / "list.m3u8"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError, match=r"list\.m3u8"):
            probe(str(path), spec)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_missing_decord_says_how_to_get_it(video, spec, monkeypatch):
    real = builtins.__import__

    def without_decord(name, *rest):
        if name == "decord":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_decord)
    with pytest.raises(MediaError, match="pip install decord"):
        probe(str(video), replace(spec, decoder="decord"))


def test_an_unknown_decoder_names_the_nearest(video, spec):
    with pytest.raises(ConfigError, match="did you mean 'pyav'"):
        probe(str(video), replace(spec, decoder="pyaw"))
