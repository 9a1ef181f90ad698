# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A model is what its files hold: the same under any path, and never the same as another one of its kind."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eval import identity
from eval.__main__ import main
from eval.identity import file_identity, model_identity
from eval.options import deciding, fingerprint
from tests.unit.eval.test_annotations import ROWS
from tests.unit.eval.world import ToyEngine
from tests.world import tiny_model


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Weights of a few kilobytes are large, and a piece is a small part of them."""
    monkeypatch.setattr(identity, "WHOLE_BYTES", 20_000)
    monkeypatch.setattr(identity, "PIECE_BYTES", 64)
    monkeypatch.setattr(identity, "PIECES", 12)


def weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"embed": (400, 32), "mlp": (128, 64), "norm": (64,), "bias": (3,)}
    return {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def test_a_copy_elsewhere_is_the_same_model(tmp_path):
    model = tiny_model(tmp_path / "model", tied=True)
    save_file(weights(), model / "more.safetensors")
    copied = shutil.copytree(model, tmp_path / "elsewhere" / "mounted", copy_function=shutil.copyfile)
    first, second = ({"model": model_identity(str(folder)), "style": "official"} for folder in (model, copied))
    assert "bytes" in first["model"]["files"]["more.safetensors"]
    assert first != second and first["model"]["path"] == str(model)
    assert deciding(first) == deciding(second) and fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize("changed", ["embed", "mlp", "norm", "bias"])
def test_a_step_that_moves_some_values_of_one_tensor_makes_another_model(tmp_path, changed):
    before = weights()
    save_file(before, tmp_path / "before.safetensors")
    rng, seen = np.random.default_rng(1), {file_identity(tmp_path / "before.safetensors")}
    for number in range(5):
        tensor = before[changed].copy()
        moved = rng.random(tensor.shape) < (0.05 if tensor.size > 100 else 1)  # the others are rounded back
        tensor[moved] += np.float16(0.01 * (number + 1))
        save_file({**before, changed: tensor}, tmp_path / f"{number}.safetensors")
        seen.add(file_identity(tmp_path / f"{number}.safetensors"))
    assert len(seen) == 6


def test_names_sizes_and_small_files_are_all_read(tmp_path):
    model = tiny_model(tmp_path / "model", tied=True)
    save_file(weights(), model / "w.safetensors")
    os.truncate(model / "w.safetensors", 30_000)
    (model / "w.bin").write_bytes(bytes(30_000))
    seen = [fingerprint({"model": model_identity(str(model))})]
    swapped = {name: tensor for name, tensor in zip(("mlp", "embed"), (np.ones((99, 99), "f4"),) * 2, strict=True)}
    for change in (
        lambda: os.truncate(model / "w.safetensors", 29_999),
        lambda: save_file(swapped, model / "w.safetensors"),
        lambda: save_file({**swapped, "lm": swapped["mlp"][:0]}, model / "w.safetensors"),
        lambda: (model / "w.bin").write_bytes(bytes(15_000) + bytes([1]) * 15_000),
        lambda: (model / "w.bin").rename(model / "v.bin"),
        lambda: (model / "config.json").write_text((model / "config.json").read_text() + " "),
        lambda: (model / "chat_template.jinja").write_text("{{ other }}"),
    ):
        change()
        seen.append(fingerprint({"model": model_identity(str(model))}))
    assert len(set(seen)) == len(seen)


def test_what_is_read_of_large_weights_is_bounded_and_touches_every_tensor(tmp_path, monkeypatch):
    tensors = {f"expert.{number}": np.zeros(4000, np.float16) for number in range(40)}
    save_file(tensors, tmp_path / "w.safetensors")
    read, plain = [], os.pread
    monkeypatch.setattr(identity.os, "pread", lambda *call: read.append(call[1:]) or plain(*call))
    file_identity(tmp_path / "w.safetensors")
    header = read[0:3]
    assert len(read) == len(header) + 40 and {length for length, _ in read[3:]} == {64}
    ends = np.cumsum([8000] * 40) + header[-1][0]
    assert np.searchsorted(ends, [start for _, start in read[3:]], "right").tolist() == list(range(40))
    assert load_file(tmp_path / "w.safetensors").keys() == tensors.keys()


def test_shards_of_machines_with_other_mounts_are_merged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("eval.__main__.signal", type("Signal", (), {"signal": lambda *_: None, "SIGTERM": None}))
    monkeypatch.setattr("eval.runner.open_engine", lambda *_: ToyEngine())
    tiny_model(tmp_path / "a" / "model", tied=True)
    (tmp_path / "a" / "data" / "videomme" / "videos").mkdir(parents=True)
    rows = [{**ROWS["videomme"][0], "problem_id": n, "path": f"{n}.mp4"} for n in range(8)]
    (tmp_path / "a" / "data" / "videomme.json").write_text(json.dumps(rows))
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)

    def start(command, machine, *more):
        flags = ["--benchmarks", "videomme", "--blind", "--device", "cpu", "--output_dir", str(tmp_path / "output")]
        for flag, name in {"--data_root": "data", "--cache_dir": "cache", "--model": "model"}.items():
            flags += [flag, str(tmp_path / machine / name)]
        return main([command, *flags, *more])

    assert start("run", "a", "--shard", "1/2") == start("run", "b", "--shard", "2/2") == 0
    shutil.rmtree(tmp_path / "b")
    assert start("merge", "a") == 0, capsys.readouterr().err
    assert len(list((tmp_path / "output").rglob("manifest.json"))) == 1
    assert "Video-MME" in capsys.readouterr().out
