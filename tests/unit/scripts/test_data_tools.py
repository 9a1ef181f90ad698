# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Both commands against a real HTTP endpoint, on a tiny model's prompts and short videos."""

from __future__ import annotations

import base64
import importlib
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.judge_endpoint import Answer, FakeEndpoint
from tests.world import tiny_model, tiny_rows
from verl.config.load import load
from verl.data.dataset import build_dataset
from verl.data.records import RowFormat, read_records
from verl.media.source import load as load_clip
from verl.models.adapter import MARK, load_adapter

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tools() -> Iterator[Any]:
    """The commands, loaded as Python loads them when they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield {name: importlib.import_module(name) for name in ("make_offline_trajectories", "filter_by_pass_rate")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    tiny_model(folder / "model")
    rows = tiny_rows(folder, 4, kinds="boolean")
    marked = [{**row, "problem": f"{row['problem']} This is row {place}."} for place, row in enumerate(rows)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in marked))
    return folder


def settings(folder: Path) -> list[str]:
    return [
        f"data.train_files={folder}/train.jsonl",
        f"data.video_dir={folder}",
        f"data.preprocessed_video_dir={folder}/cache",
        "data.prompt_key=problem",
        "data.min_pixels=null",
        "data.max_pixels=null",
        "data.video_max_frames=4",
        "data.max_response_length=33",
        "worker.rollout.temperature=0.7",
        "worker.rollout.top_k=20",
        f"worker.actor.model.model_path={folder}/model",
    ]


def flags(output: Path, endpoint: FakeEndpoint, *more: str) -> list[str]:
    served = ["--base_url", endpoint.url, "--model", "teacher", "--concurrency", "4", "--max_retries", "1"]
    return ["--output_file", str(output), "--attempts", "2", *served, *more]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answering(write: Callable[[int, int], str | Answer]) -> Callable[[dict[str, Any]], Answer]:
    """An endpoint that is told row and attempt of each request."""
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> Answer:
        text = "".join(part.get("text", "") for part in body["messages"][0]["content"])
        row = int(re.search(r"This is row (\d)", text)[1])
        with lock:
            attempt = seen[row]
            seen[row] += 1
        given = write(row, attempt)
        return given if isinstance(given, Answer) else Answer(content=given)

    return answer


def right(folder: Path, row: int) -> str:
    return f"<think>I look.</think><answer>{read(folder / 'train.jsonl')[row]['answer']}</answer>"


WRONG = "<answer>perhaps</answer>"


def test_trajectories_are_written_for_training_to_read(tools: Any, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    def write(row: int, attempt: int) -> str | Answer:
        if row == 3:
            return Answer(status=400, raw=b"too long")
        return right(folder, row) if row == 0 or (row == 1 and attempt == 1) else WRONG

    with FakeEndpoint(answering(write)) as endpoint:
        command = [*settings(folder), *flags(output, endpoint)]
        assert tools["make_offline_trajectories"].main(command) == 0
        assert len(endpoint.asked) == 8
        assert tools["make_offline_trajectories"].main(command) == 0
        assert len(endpoint.asked) == 8  # nothing is asked twice
        assert tools["make_offline_trajectories"].main([*command, "--retry_failed"]) == 0
        assert len(endpoint.asked) == 10  # but for the row that failed
    records = read_records([str(output)], RowFormat(problem="problem", video_root=str(folder)))
    assert [bool(record.offline_responses) for record in records] == [True, True, False, False]
    assert records[1].offline_responses == (right(folder, 1),)
    given = read(folder / "train.jsonl")
    assert [{name: row[name] for name in given[0]} for row in read(output)] == given
    assert tools["make_offline_trajectories"].main([*command, "--drop_rows", "--threshold", "0"]) == 0
    assert [len(row["offline_output"]) for row in read(output)] == [1, 1, 1]


def test_rows_that_are_answered_sometimes_are_kept(
    tools: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "kept.jsonl"

    def write(row: int, attempt: int) -> str | Answer:
        if row == 3:
            return Answer(status=400, raw=b"too long")
        return right(folder, row) if attempt < row else WRONG

    with FakeEndpoint(answering(write)) as endpoint:
        command = [*settings(folder), *flags(output, endpoint)]
        assert tools["filter_by_pass_rate"].main(command) == 0
        assert (
            "2 attempts without a score: endpoint: status 400: too long (first: train.jsonl:4)"
            in capsys.readouterr().out
        )
        (kept,) = read(output)
        assert kept == {**read(folder / "train.jsonl")[1], "pass_rate": 0.5}
        rates = read(tmp_path / "kept.pass_rates.jsonl")
        assert [row["pass_rate"] for row in rates] == [0.0, 0.5, 1.0, None]
        assert [row["kept"] for row in rates] == [False, True, False, False]
        assert tools["filter_by_pass_rate"].main([*command, "--above=0.5", "--below=1.1"]) == 0
        assert [row["pass_rate"] for row in read(output)] == [1.0]
        assert len(endpoint.asked) == 8
        assert tools["filter_by_pass_rate"].main([*command, "worker.rollout.temperature=0.8"]) == 2
        assert "sampling was" in capsys.readouterr().err
        assert tools["filter_by_pass_rate"].main([*command, "data.options_key=choices"]) == 2
        assert "prompts was" in capsys.readouterr().err
        assert tools["filter_by_pass_rate"].main([*command, "worker.reward.accuracy_weight=0.5"]) == 2
        assert "weights was" in capsys.readouterr().err
        assert tools["filter_by_pass_rate"].main([*command, "--above=1", "--below=0.5"]) == 2
        assert "no rate is between" in capsys.readouterr().err
        assert len(endpoint.asked) == 8


def test_the_endpoint_sees_the_frames_the_words_and_the_sampling_of_training(
    tools: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    more = ["--api_key_env", "SOME_KEY", "--image_format", "png", "--request_extra", '{"top_p": null, "n": 1}']
    with FakeEndpoint(Answer(content=WRONG)) as endpoint:
        command = [*settings(folder), *flags(tmp_path / "out.jsonl", endpoint, *more)]
        assert tools["make_offline_trajectories"].main(command) == 0
    assert set(endpoint.keys) == {"Bearer secret"}
    config = load(settings(folder))
    dataset = build_dataset(config.data, load_adapter(str(folder / "model")), train=True)
    prompt = dataset[0]
    words = dataset._builder.template.render(prompt.record)
    clip = load_clip(prompt.media[0])
    bodies = [body for body in endpoint.asked if _frames(body).shape == clip.frames.shape]
    bodies = [body for body in bodies if np.array_equal(_frames(body), clip.frames)]
    assert len(bodies) == 2 and len({body["seed"] for body in bodies}) == 2
    content = bodies[0]["messages"][0]["content"]
    times = [part["text"] for part in content if part.get("text", "").endswith("seconds>")]
    assert times == [f"<{time:.1f} seconds>" for time in clip.metadata.timestamps]
    assert content[-1] == {"type": "text", "text": MARK.split(words)[-1]}
    expected = {"model": "teacher", "temperature": 0.7, "top_k": 20, "max_tokens": 33, "n": 1}
    assert {name: bodies[0].get(name) for name in expected} == expected and "top_p" not in bodies[0]


def _frames(body: dict[str, Any]) -> np.ndarray:
    """[F, 3, H, W]"""
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    data = [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls]
    return np.stack([np.asarray(Image.open(io.BytesIO(one))).transpose(2, 0, 1) for one in data])


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        (
            [Answer(status=401, raw=b"who are you?")],
            1,
            "WorkerError: the endpoint refuses requests for teacher: status 401",
        ),
        ([Answer(content="")], 0, ""),
    ],
)
def test_an_endpoint_that_refuses_ends_it_and_one_that_is_silent_is_counted(
    tools: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], script: Any, status: int, message: str
) -> None:
    with FakeEndpoint(*script) as endpoint:
        command = [*settings(folder), *flags(tmp_path / "out.jsonl", endpoint)]
        assert tools["make_offline_trajectories"].main(command) == status
    said = capsys.readouterr()
    assert message in said.err
    assert ("8 attempts without a score: endpoint: an empty response (finish_reason stop)" in said.out) == (status == 0)


def test_rows_that_all_fail_are_a_fault_of_the_set_up(tools: Any) -> None:
    from verl.errors import WorkerError
    from verl.rollout.attempts import Attempt, Tried
    from verl.rollout.sampler import _Run

    run, row = _Run(), Tried(key="k", id="1", where="a:1", attempts=(Attempt(error="no reply"),))
    for has_failed in (True, False, True):
        run.end(has_failed, row, 2)
    with pytest.raises(WorkerError, match="2 rows in a row got no response at all, the last one, a:1: no reply"):
        run.end(True, row, 2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--attempts", "0"], "--attempts 0"),
        (["--concurrency", "0"], "--concurrency 0"),
        (["--keep", "-1"], "--keep -1"),
        (["--request_extra", "[1]"], "--request_extra [1]: must be a JSON object"),
        (["--score_part", "overall", "worker.reward.model.model_path=scorer"], "worker.reward.model has a share"),
        (["--api_key_env", "NO_SUCH_KEY"], "NO_SUCH_KEY: this variable is not set"),
        (["data.max_prompt_length=3", "data.filter_overlong_prompts=false"], "prompts are too long"),
    ],
)
def test_wrong_calls_are_told_apart(
    tools: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    with FakeEndpoint() as endpoint:
        command = [*settings(folder), *flags(tmp_path / "out.jsonl", endpoint), *more]
        assert tools["make_offline_trajectories"].main(command) == 2
        assert message in capsys.readouterr().err and not endpoint.asked


@pytest.mark.parametrize(("source", "output"), [("in.jsonl", "in.jsonl"), ("rows", "rows/out.jsonl")])
def test_the_input_is_never_written_to(
    tools: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, output: str
) -> None:
    (tmp_path / "rows").mkdir()
    command = ["--output_file", str(tmp_path / output), "--input_file", str(tmp_path / source)]
    assert tools["filter_by_pass_rate"].main(command) == 2
    assert "which must stay as it is" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]
