# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The command that looks at data before a run does."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.world import tiny_model, tiny_rows, tiny_video
from verl.config.load import load
from verl.config.plan import image_spec, video_spec
from verl.data.dataset import build_dataset
from verl.data.validate import main
from verl.models.adapter import load_adapter

SETTINGS = ["data.prompt_key=problem", "data.min_pixels=null", "data.max_pixels=null", "data.max_prompt_length=400"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    tiny_rows(folder, 3, kinds="colour")
    tiny_video(folder / "v.mp4")
    Image.new("RGB", (96, 64), "red").save(folder / "i.png")
    Image.new("RGB", (64, 640), "blue").save(folder / "tall.png")
    (folder / "broken.mp4").write_bytes(b"no video" * 64)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


def row(**changes: Any) -> dict[str, Any]:
    return {
        "problem": "Which?",
        "answer": "A",
        "problem_type": "multiple choice",
        "options": ["A. x", "B. y"],
    } | changes


MIXED = [
    row(problem="Is <image> in <video>, or <image>?", videos=["v.mp4"], images=["i.png", "tall.png"]),
    row(images=["i.png"]),
    row(videos=["v.mp4", "v.mp4"], offline_output="<answer>A</answer>"),
    row(problem_type="boolean", answer="Yes", options=[]),
]


@pytest.fixture
def told(folder, capsys):
    """Run the command on these rows; its exit status and what it says."""

    def run(rows: list[Any], *settings: str) -> tuple[int, str]:
        file = folder / "rows.jsonl"
        file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
        status = main([str(file), *SETTINGS, f"data.image_dir={folder}", *settings])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_good_rows_of_all_kinds_pass_with_their_numbers(told, model):
    status, said = told(MIXED, f"worker.actor.model.model_path={model}")
    assert status == 0, said
    for line in (
        "rows.jsonl: 4 rows",
        "problem types: multiple choice 3, boolean 1",
        "data types: video 2, image 1, text 1",
        "different media: image 2, video 1; 0 cannot be read",
        "rows that do not say where their media go: 2, put at the front",
        "rows with responses of their own: 1",
        "prompt tokens of 4 rows: shortest ",
    ):
        assert line in said


def test_lengths_are_those_of_the_prompts_that_a_run_builds(told, folder, model):
    _, said = told(MIXED, f"worker.actor.model.model_path={model}")
    config = load([f"data.train_files={folder}/rows.jsonl", f"data.image_dir={folder}", *SETTINGS]).data
    adapter = load_adapter(model)
    prompts = list(build_dataset(config, adapter, train=True))
    lengths = [len(prompt.ids) for prompt in prompts]
    assert f"shortest {min(lengths)}, " in said and f"longest {max(lengths)}" in said
    assert [ref.kind for ref in prompts[0].media] == ["image", "video", "image"]
    assert {ref.spec for prompt in prompts for ref in prompt.media} == {
        video_spec(config, adapter.align, train=True),
        image_spec(config, adapter.align, train=True),
    }
    for prompt in prompts:
        tokens = sum(grid.num_tokens(adapter.merge_size) for grid in prompt.grids)
        assert len(adapter.visual_index(prompt.ids, prompt.grids)) == tokens


def test_every_problem_is_told_with_its_row(told, model):
    bad = [
        row(problem="<video>", videos=["broken.mp4"]),
        row(problem="<video>", videos=["broken.mp4"], answer="Q"),
        row(problem="<video>", videos=["gone.mp4"]),
        row(problem="<image><image>", images=["i.png"]),
        '{"problem": ',
        row(answer=None),
        row(problem="far too long " * 200),
        row(),
    ]
    status, said = told(bad, f"worker.actor.model.model_path={model}")
    assert status == 1
    assert "rows.jsonl: 8 rows" in said
    for problem in (
        "rows.jsonl:1 (and 1 more): ",
        "rows.jsonl:2: ground truth 'Q'",
        "rows.jsonl:3: there is no video ",
        "rows.jsonl:4: the problem holds 2 <image> for 1 image",
        "rows.jsonl:5: not JSON",
        "rows.jsonl:6: column 'answer' is empty",
        "rows.jsonl:7: the prompt has ",
    ):
        assert problem in said
    assert "broken.mp4" in said and "data.max_prompt_length is 400" in said
    assert "7 problems:" in said and "2 cannot be read" in said


def test_without_a_model_rows_and_media_are_looked_at_all_the_same(told):
    status, said = told(MIXED)
    assert status == 0 and "prompt tokens" not in said
    status, said = told([row(problem="<video>", videos=["broken.mp4"])])
    assert status == 1 and "broken.mp4" in said


def test_no_rows_are_a_problem(told):
    assert told([])[0] == 1


def test_the_files_of_a_configuration_are_looked_at_by_their_own_keys(folder, model, capsys):
    settings = [*SETTINGS, f"data.train_files={folder}@train", f"data.val_files={folder}@train"]
    settings += [f"data.video_dir={folder}", f"worker.actor.model.model_path={model}"]
    settings += ["data.video_max_frames=4", "data.val_video_max_frames=8"]
    assert main(settings) == 0
    train, val = [line for line in capsys.readouterr().out.splitlines() if "prompt tokens" in line]
    assert train != val


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the files to look at"),
        (["no.jsonl"], "no.jsonl: there is no such file or folder"),
        (["data.no_such_key=1"], "unknown key data.no_such_key"),
        (["rows.jsonl", "worker.actor.model.model_path=./none"], "./none"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments, message: str, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "rows.jsonl").write_text(json.dumps(row()) + "\n")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_it_runs_as_a_command(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["validate", f"{folder}@train", f"data.video_dir={folder}", SETTINGS[0]])
    with pytest.raises(SystemExit) as end, pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("verl.data.validate", run_name="__main__")
    assert end.value.code == 0
    assert "3 rows" in capsys.readouterr().out


def test_responses_of_the_rows_are_looked_at(told, model):
    rows = [
        row(offline_output="<answer>A</answer>", offline_logprobs=[-0.5]),
        row(offline_output=["<answer>A</answer>", "word " * 9]),
    ]
    status, said = told(rows, f"worker.actor.model.model_path={model}", "data.max_response_length=8")
    assert status == 1 and "rows.jsonl:1: offline response 0 has " in said and "1 offline_logprobs" in said
    assert "longer than data.max_response_length: " in said and "1 problem:" in said
