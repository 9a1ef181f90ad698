# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.videos import VideoRecipe, numbered_video, read_number
from verl.errors import ConfigError, MediaError
from verl.media import pyav_decoder
from verl.media.decode import decode, probe

ROOT = Path(__file__).parents[3]
UNEVEN = tuple(index / 30 + (index // 7) * 0.4 for index in range(60))


def numbers(clip):
    return tuple(read_number(frame) for frame in clip.frames)


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
    path = str(numbered_video(tmp_path / "a.mp4", VideoRecipe(times=UNEVEN)))
    found = probe(path, replace(spec, fps=60, max_frames=60))
    assert found.timestamps == pytest.approx(UNEVEN, abs=1e-4)
    assert found.source_fps == pytest.approx(59 / UNEVEN[-1], rel=1e-4)


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


ENTRY = """
import hashlib, sys
from pathlib import Path
from verl.media.cache import ClipCache
from verl.media.decode import decode
from verl.media.spec import source_id
from verl.types import VideoSpec
path, root = sys.argv[1:]
spec = VideoSpec(fps=8, max_frames=16, min_pixels=32 * 32, max_pixels=96 * 96, align=32)
source = source_id(path)
entry = ClipCache(Path(root)).write(spec.cache_key(source), decode(source.path, spec), spec, source)
print(entry.name, hashlib.sha256(entry.read_bytes()).hexdigest())
"""


def test_an_entry_has_the_same_bytes_whoever_writes_it(tmp_path):
    """From another folder, through a link, in another language, on a processor without vector instructions."""
    numbered_video(tmp_path / "clips" / "a.mp4")
    (tmp_path / "link.mp4").symlink_to("clips/a.mp4")
    plain = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    other = plain | {"ATEN_CPU_CAPABILITY": "default", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    written = set()
    for home, path, surroundings in ((tmp_path / "clips", "a.mp4", plain), (tmp_path, "link.mp4", other)):
        command = [sys.executable, "-c", ENTRY, path, str(tmp_path / f"cache{len(written)}")]
        run = subprocess.run(command, cwd=home, env=surroundings, capture_output=True, text=True, check=True)
        written.add(run.stdout)
    assert len(written) == 1


def test_an_unknown_decoder_names_the_nearest(video, spec):
    with pytest.raises(ConfigError, match="did you mean 'pyav'"):
        probe(str(video), replace(spec, decoder="pyaw"))
