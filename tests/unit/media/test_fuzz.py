# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Files that chance or malice has changed: every reader says MediaError, or reads what was written."""

import json
import resource
import zipfile
from dataclasses import fields, replace
from io import BytesIO
from typing import get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.media.clips import SPEC, make_clip, source_of
from verl.errors import MediaError
from verl.media import codec, storage
from verl.media.cache import ClipCache
from verl.media.entry import _header, read_entry, read_header, verify, write_entry
from verl.media.fields import build, fits
from verl.media.legacy import load_clip
from verl.types import SourceId, VideoMetadata, VideoSpec

CLIP = make_clip(frames=2, height=32, width=32)
GROWTH = 64 << 20  # bytes that a reader of a file of some kilobytes may take
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def entry_bytes(folder, name):
    lossy = name if name != codec.RAW and codec.CODECS[name].lossy else None
    path = folder / "entry"
    write_entry(path, CLIP, replace(SPEC, lossy=lossy), source_of("/videos/a.mp4"), codec=name if not lossy else "raw")
    return path.read_bytes()


@pytest.fixture(params=[codec.RAW, *sorted(codec.CODECS)])
def whole(request, tmp_path):
    return entry_bytes(tmp_path, request.param)


@st.composite
def mutations(draw, size):
    """Edits of a file: bytes changed, a piece cut out, doubled or appended, the end missing."""
    kind = draw(st.sampled_from(["change", "cut", "double", "append", "truncate"]))
    start = draw(st.integers(0, max(size - 1, 0)) | st.integers(0, min(2000, size - 1)))
    return kind, start, draw(st.integers(1, 64)), draw(st.binary(min_size=1, max_size=16))


def mutate(data, edit):
    kind, start, length, piece = edit
    return {
        "change": data[:start] + piece + data[start + len(piece) :],
        "cut": data[:start] + data[start + length :],
        "double": data[: start + length] + data[start:],
        "append": data + piece,
        "truncate": data[:start],
    }[kind]


def read_all(path):
    """Everything that is ever done to an entry; None if it is refused."""
    try:
        read_header(path)
        header, frames = read_entry(path)
        verify(path)
    except MediaError:
        return None
    return header, frames


@given(data=st.data())
@SETTINGS
def test_a_changed_entry_is_refused_or_is_what_it_was(whole, tmp_path, data):
    path = tmp_path / "changed"
    edits = data.draw(st.lists(mutations(len(whole)), min_size=1, max_size=3))
    changed = whole
    for edit in edits:
        changed = mutate(changed, edit)
    path.write_bytes(changed)
    found = read_all(path)
    if changed != whole:
        assert found is None or _only_padding_differs(whole, changed)


def _only_padding_differs(whole, changed):
    """JSON says the same thing in many ways: spaces between the parts of the header carry nothing."""
    length = 8 + int.from_bytes(changed[:8], "little")
    start = 8 + int.from_bytes(whole[:8], "little")
    return json.loads(changed[8:length]) == json.loads(whole[8:start]) and changed[length:] == whole[start:]


@given(noise=st.binary(max_size=400))
@SETTINGS
def test_noise_is_refused(tmp_path, noise):
    path = tmp_path / "noise"
    for content in (noise, len(noise).to_bytes(8, "little") + noise, b"\xff" * 8 + noise):
        path.write_bytes(content)
        assert read_all(path) is None
        for read in (ClipCache.load, load_clip):
            with pytest.raises(MediaError):
                read(path)


@given(name=st.sampled_from(["spec", "source", "video", "tools", "codec", "blocks", "key"]), value=JSON)
@SETTINGS
def test_a_sealed_header_with_any_value_in_any_place_is_refused(whole, tmp_path, name, value):
    """Whoever can write the file can seal it: the seal protects from chance, types and bounds from malice."""
    told = value if isinstance(value, str) else json.dumps(value)
    forge(whole, tmp_path / "forged", **{name: told})
    found = read_all(tmp_path / "forged")
    assert found is None or name == "tools" or told == fields_of(whole)[name]


@given(data=st.data())
@SETTINGS
def test_a_sealed_header_with_any_number_of_the_clip_changed_allocates_no_more_than_its_file(whole, tmp_path, data):
    video = fields_of(whole)["video"]
    name = data.draw(st.sampled_from(sorted(json.loads(video))))
    value = data.draw(JSON | st.integers(1, 1 << 70) | st.just(10**400) | st.lists(st.integers(), max_size=4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forge(whole, tmp_path / "forged", video=json.dumps(json.loads(video) | {name: value}))
    found = read_all(tmp_path / "forged")
    assert found is None or found[1].shape == CLIP.frames.shape
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < GROWTH


@pytest.mark.parametrize("name", sorted(codec.CODECS))
def test_a_packed_entry_that_claims_to_be_huge_takes_no_memory(tmp_path, name):
    whole = entry_bytes(tmp_path, name)
    video = json.loads(fields_of(whole)["video"]) | {"height": 1 << 16, "width": 1 << 16}
    forge(whole, tmp_path / "forged", video=json.dumps(video))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_all(tmp_path / "forged") is None
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < GROWTH


def test_numbers_that_contradict_each_other_are_refused(tmp_path):
    whole = entry_bytes(tmp_path, "jpeg95-444")
    told = fields_of(whole)
    exact = replace(SPEC, lossy=None)
    video = json.loads(told["video"])
    for changes in (
        {"video": json.dumps(video | {"timestamps": [0.0]})},
        {"video": json.dumps(video | {"frame_indices": [], "timestamps": []})},
        {"spec": json.dumps(_asdict(exact)), "key": exact.cache_key(source_of("/videos/a.mp4"))},
        {"codec": "jpeg95-420"},
        {"codec": "lz4"},
        {"video": json.dumps(video | {"duration": 10**400})},
        {"video": json.dumps(video | {"timestamps": [0.0, float("nan")]})},
        {"video": json.dumps(video | {"timestamps": [0.0, 10**400]})},
        {"video": json.dumps(video | {"frame_indices": [0, True]})},
        {"video": json.dumps(video | {"height": 32.0})},
        {"blocks": json.dumps([-1, sum(json.loads(told["blocks"])) + 1])},
    ):
        forge(whole, tmp_path / "forged", **changes)
        assert read_all(tmp_path / "forged") is None, changes


@pytest.mark.parametrize("name", sorted(codec.CODECS))
@pytest.mark.parametrize("shape", [(16, 32), (64, 32), (32, 16), (33, 32)])
def test_a_block_that_holds_a_frame_of_another_size_is_a_value_error(name, shape):
    (block,) = codec.CODECS[name].encode(np.zeros((1, 3, *shape), np.uint8))
    with pytest.raises(ValueError, match=r"not of the size|a JPEG is RGB"):
        codec.unpack(name, [block], (1, 3, 32, 32))


def test_a_header_nested_without_end_is_refused(whole, tmp_path):
    path = tmp_path / "nested"
    header = b"[" * 200_000
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert read_all(path) is None
    forge(whole, path, blocks="[" * 200_000)
    assert read_all(path) is None


def fields_of(whole):
    length = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + length])["__metadata__"]


def forge(whole, path, **changes):
    """The entry with other header fields and a right seal."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    told = header.pop("__metadata__")
    del told["seal"]
    ((name, tensor),) = header.items()
    payload = whole[8 + length :]
    path.write_bytes(_header(told | changes, {name: tensor}, len(payload)) + payload)


@given(frame=st.binary(min_size=1, max_size=300), name=st.sampled_from(sorted(codec.CODECS)))
@SETTINGS
def test_a_block_of_noise_is_a_value_error(frame, name):
    with pytest.raises(ValueError, match=r"zstd|JPEG"):
        codec.unpack(name, [frame], (1, 3, 32, 32))


@given(data=st.data())
@SETTINGS
def test_a_changed_clip_of_the_reference_is_refused_or_gives_pixels(tmp_path, data):
    whole = BytesIO()
    numbers = {"fps": 25.0, "frames_indices": [0, 3], "total_num_frames": 9, "video_backend": "decord"}
    torch.save({"frames": torch.from_numpy(CLIP.frames[:, :, :8, :8]).float(), "metadata": numbers}, whole)
    with zipfile.ZipFile(whole) as archive:
        (told,) = (one for one in archive.infolist() if one.filename.endswith("data.pkl"))
    edit = data.draw(mutations(len(whole.getvalue())))
    if data.draw(st.booleans()):  # in the pickle
        edit = (edit[0], told.header_offset + edit[1] % (told.file_size + 64), *edit[2:])
    (tmp_path / "changed.pt").write_bytes(mutate(whole.getvalue(), edit))
    try:
        clip = load_clip(tmp_path / "changed.pt")
    except MediaError:
        return
    assert clip.frames.dtype == np.uint8


def test_every_field_of_the_header_is_of_a_kind_that_is_checked():
    metadata = build(VideoMetadata, json.loads(json.dumps({**_asdict(CLIP.metadata)})))
    assert metadata == CLIP.metadata
    for cls, example in ((VideoMetadata, CLIP.metadata), (VideoSpec, SPEC), (SourceId, source_of("a"))):
        for name, kind in get_type_hints(cls).items():
            assert fits(getattr(example, name), kind), name
            assert not fits(object(), kind), name


def _asdict(value):
    return {one.name: getattr(value, one.name) for one in fields(value)}


def test_a_file_that_shrinks_between_the_check_and_the_map_is_an_error(tmp_path):
    (tmp_path / "short").write_bytes(b"12345")
    with (tmp_path / "short").open("rb", buffering=0) as file, pytest.raises(ValueError, match="greater than file"):
        storage.attach(file, 6)
