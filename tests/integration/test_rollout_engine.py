# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A real vLLM engine on the CPU against transformers: one start for all tests but the last, in order."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.live_engine import LiveServer, ModuleWeights, Reference, make_prompt
from tests.runs import REWARD
from tests.world import tiny_image, tiny_model, tiny_rows, tiny_video
from verl.config.load import load as load_config
from verl.data.dataset import build_dataset
from verl.errors import AlignmentError, DataError, WorkerError
from verl.fsdp.sampling import Sampling
from verl.media.image import ImageSource
from verl.media.source import MediaSource, SourceMode, load
from verl.models.adapter import load_adapter
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions, TransferSettings
from verl.rollout.writers import EngineWriter, Written
from verl.types import ImageClip, ImageSpec, Prompt, Trajectory, VideoSpec

pytestmark = pytest.mark.cluster

TEMPERATURE = 0.8
PLAN = SamplingPlan(n=4, temperature=TEMPERATURE, max_tokens=24, seed=7)
EXACT = 1e-5  # the log-prob gap that is allowed in float32


@dataclass
class World:
    live: LiveServer
    reference: Reference
    prompts: list[Prompt]  # one of text, two of the same video, one of two videos
    pictured: list[Prompt]  # one of an image, one of two images and a video

    def gap(self, rows: list[Trajectory]) -> float:
        """Largest difference between the engine's and transformers' log-probs."""
        clips = {ref.key: load(ref) for row in rows for ref in row.prompt.media}
        gaps = [self.reference.logprobs(row, TEMPERATURE, clips) - row.rollout_logprobs for row in rows]
        return float(max(np.abs(gap).max() for gap in gaps))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("rollout")
    model = str(tiny_model(directory / "model", tied=True))
    adapter = load_adapter(model)
    spec = VideoSpec(fps=2.0, max_frames=8, min_pixels=32 * 32, max_pixels=64 * 64, align=adapter.align)
    source = MediaSource(SourceMode("prefer_preprocessed"), directory / "cache", spec)
    first = source.ref(str(tiny_video(directory / "first.mp4", seed=1)))
    second = source.ref(str(tiny_video(directory / "second.mp4", seed=2, num_frames=11, colour="blue")))
    prompts = [
        make_prompt(adapter, "What is two and two?"),
        make_prompt(adapter, "<video>What colour is it?", (first,)),
        make_prompt(adapter, "<video>Where does it go?", (first,)),
        make_prompt(adapter, "<video>and <video>: which is blue?", (first, second)),
    ]
    images = ImageSource(ImageSpec(min_pixels=32 * 32, max_pixels=64 * 96, align=adapter.align))
    photo, banner = (images.ref(tiny_image(directory / f"{size[0]}.png", size)) for size in ((70, 90), (200, 40)))
    pictured = [
        make_prompt(adapter, "<image>What is it?", (photo,)),
        make_prompt(adapter, "Is <image> or <image> in <video>?", (banner, photo, first)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_environment("cpu").items():
            patch.setenv(name, value)
        options = EngineOptions(
            model_path=model,
            max_model_len=512,
            device="cpu",
            weight_transfer="shm",
            dtype="float32",
            max_num_seqs=32,
            max_videos=2,
            max_images=2,
        )
        live = LiveServer(options)
        yield World(live, Reference(model), prompts, pictured)
        live.close()


@pytest.fixture(scope="module")
def rows(world: World) -> list[Trajectory]:
    return world.live.generate(world.prompts, PLAN)


def test_every_prompt_gets_its_group(world: World, rows: list[Trajectory]) -> None:
    assert [(row.group, row.index) for row in rows] == [(g, i) for g in range(4) for i in range(4)]
    assert all(len(row.response_ids) == len(row.rollout_logprobs) for row in rows)
    assert all(row.truncated == (len(row.response_ids) == PLAN.max_tokens) for row in rows)
    assert len({tuple(row.response_ids) for row in rows}) > 8


def test_text_is_the_response_decoded(world: World, rows: list[Trajectory]) -> None:
    adapter = load_adapter(world.live.server.options.model_path)
    assert [row.text for row in rows] == [adapter.decode(row.response_ids) for row in rows]


def test_a_response_ends_with_its_first_end_token_unless_truncated(world: World, rows: list[Trajectory]) -> None:
    """vLLM decides it, by all end tokens of the model: what `response_mask/` of tests/vectors is about."""
    eos = load_adapter(world.live.server.options.model_path).eos_ids
    assert all((row.response_ids[-1] in eos) != row.truncated for row in rows)
    assert not any(token in eos for row in rows for token in row.response_ids[:-1])


def test_logprobs_are_those_of_transformers(world: World, rows: list[Trajectory]) -> None:
    assert world.gap(rows) < EXACT


@pytest.mark.parametrize(("top_p", "top_k"), [(0.8, -1), (1.0, 5), (0.7, 40)])
def test_logprobs_of_a_part_of_the_vocabulary_are_the_trainers(world: World, top_p: float, top_k: int) -> None:
    plan = SamplingPlan(n=4, temperature=TEMPERATURE, top_p=top_p, top_k=top_k, max_tokens=16, seed=5)
    how = Sampling(temperature=TEMPERATURE, top_p=top_p, top_k=top_k)
    untouched = []
    for row in world.live.generate(world.prompts[:1], plan):
        ids = torch.from_numpy(row.response_ids).long()
        shaped = how.shape(world.reference.logits(row), ids).log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        assert np.abs(shaped.numpy() - row.rollout_logprobs).max() < EXACT
        untouched.append(np.abs(world.reference.logprobs(row, TEMPERATURE) - row.rollout_logprobs).min())
    assert min(untouched) > 100 * EXACT, "nothing was cut off: the test proves nothing"


def test_images_are_seen_as_transformers_sees_them(world: World, rows: list[Trajectory]) -> None:
    """The engine's own ids are compared with ours for every row; see `check_expansion`."""
    fresh = world.live.generate(world.pictured, PLAN)
    assert len(fresh) == 8
    assert world.gap(fresh) < EXACT
    (ref,) = fresh[0].prompt.media
    negative = ImageClip(frames=255 - load(ref).frames, metadata=load(ref).metadata)
    other = world.reference.logprobs(fresh[0], TEMPERATURE, {ref.key: negative}) - fresh[0].rollout_logprobs
    assert np.abs(other).max() > 10 * EXACT, "the image makes no difference: the test proves nothing"
    assert {ref.kind for ref in fresh[-1].prompt.media} == {"image", "video"}


def test_a_sampled_vision_token_is_plain_text(world: World, rows: list[Trajectory]) -> None:
    adapter = load_adapter(world.live.server.options.model_path)
    hot = world.live.generate(world.prompts[:2], SamplingPlan(n=16, temperature=2.0, max_tokens=32, seed=3))
    odd = [row for row in hot if np.isin(row.response_ids[:-1], adapter.banned_ids).any()]
    assert odd, "no vision token was sampled: the test proves nothing"
    clips = {ref.key: load(ref) for row in odd for ref in row.prompt.media}
    gaps = [np.abs(world.reference.logprobs(row, 2.0, clips) - row.rollout_logprobs).max() for row in odd]
    assert max(gaps) < EXACT


def test_responses_depend_on_seed_and_place_alone(world: World, rows: list[Trajectory]) -> None:
    again = world.live.generate(world.prompts, PLAN)
    assert [list(row.response_ids) for row in again] == [list(row.response_ids) for row in rows]


def test_a_clip_is_loaded_once_for_all_who_ask(world: World, rows: list[Trajectory]) -> None:
    world.live.run(world.live.server.drain_stats())
    fresh = world.live.generate(world.prompts, PLAN)
    stats = world.live.run(world.live.server.drain_stats())
    assert (stats.media_loads, stats.distinct_media, stats.num_rows) == (2, 2, 16)
    assert stats.prompt_tokens == sum(len(row.prompt.ids) for row in fresh)


def test_another_expansion_than_the_engine_s_is_fatal(world: World) -> None:
    prompt = world.prompts[1]
    wrong = Prompt(
        record=prompt.record,
        text=prompt.text,
        collapsed_ids=prompt.collapsed_ids,
        ids=prompt.ids[:-1],
        grids=prompt.grids,
        media=prompt.media,
    )
    with pytest.raises(AlignmentError, match="test:1"):
        world.live.generate([wrong], SamplingPlan(max_tokens=1))


def test_a_prompt_without_room_for_a_response_names_its_row(world: World) -> None:
    prompt = world.prompts[0]
    long = Prompt(
        record=prompt.record,
        text="",
        collapsed_ids=np.ones(512, np.int32),
        ids=np.ones(512, np.int32),
        grids=(),
        media=(),
    )
    with pytest.raises(DataError, match="test:1"):
        world.live.generate([long], SamplingPlan(max_tokens=1))


def test_the_data_tools_sample_as_training_does_and_resume(world: World, tmp_path: Path) -> None:
    """Both commands; the second time nothing is left to ask the engine for."""
    rows = tiny_rows(tmp_path, 3)
    (tmp_path / "reward.py").write_text(REWARD)
    asked: list[int] = []

    class Remote:
        """The engine lives in another event loop."""

        async def write(self, prompt: Prompt, row: int, plan: SamplingPlan) -> Sequence[Written]:
            asked.append(row)
            return await asyncio.wrap_future(
                world.live.submit(EngineWriter(world.live.server).write(prompt, row, plan))
            )

    @asynccontextmanager
    async def opener(job: Any) -> AsyncIterator[Remote]:
        yield Remote()

    settings = [
        *(
            f"data.{key}"
            for key in (f"train_files={tmp_path}/train.jsonl", f"video_dir={tmp_path}", "prompt_key=problem")
        ),
        *("data.video_max_frames=4", "data.min_pixels=null", "data.max_pixels=4096", "data.max_response_length=12"),
        f"worker.actor.model.model_path={world.live.server.options.model_path}",
        f"worker.reward.reward_function={tmp_path}/reward.py:noisy",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        make, keep = (importlib.import_module(name) for name in ("make_offline_trajectories", "filter_by_pass_rate"))
    made, kept = tmp_path / "made.jsonl", tmp_path / "kept.jsonl"
    for _ in range(2):
        assert make.main([*settings, f"--output_file={made}", "--keep=2"], opener) == 0
        assert keep.main([*settings, f"--output_file={kept}", "--below=1.1"], opener) == 0
    assert sorted(asked) == [0, 0, 1, 1, 2, 2]  # once by each command
    dataset = build_dataset(load_config(settings).data, load_adapter(world.live.server.options.model_path), train=True)
    plan = SamplingPlan(n=8, max_tokens=12, seed=1)
    texts = [row.text for row in world.live.generate(list(dataset), plan)]
    sums = [sum(map(ord, text)) % 5 for text in texts]
    rates = [sum(one == 4 for one in sums[start : start + 8]) / 8 for start in (0, 8, 16)]
    told = [json.loads(line) for line in kept.with_name("kept.pass_rates.jsonl").read_text().splitlines()]
    assert [row["pass_rate"] for row in told] == rates
    written = [json.loads(line) for line in made.read_text().splitlines()]
    assert [row["problem_id"] for row in written] == [row["problem_id"] for row in rows]
    for start, row in zip((0, 8, 16), written, strict=True):
        assert row["has_offline_trajectory"] == bool(row["offline_output"])
        assert set(row["offline_output"]) <= set(texts[start : start + 8])


def test_new_weights_count_at_once_and_for_everything(world: World, rows: list[Trajectory]) -> None:
    """Tied head, vision features and prefixes: each of them is remembered somewhere in the engine."""
    from verl.rollout.transfer import make_sender

    live, server = world.live, world.live.server
    settings = TransferSettings(backend="shm", rank=0, wire_dtype="float32", bucket_bytes=1 << 16)
    sender = make_sender(settings, [live], ModuleWeights(world.reference.model))
    for version in (1, 2):
        world.reference.perturb(0.02, seed=version)
        assert world.gap(live.generate(world.prompts, PLAN)) > 100 * EXACT
        live.run(server.sleep())
        live.run(server.wake_weights())
        sender.send(version)
        live.run(server.wake_cache())
        fresh = live.generate(world.prompts, PLAN)
        assert world.gap(fresh) < EXACT
        assert {row.weight_version for row in fresh} == {version}
    sender.close()
    assert not list(Path("/dev/shm").glob("verl-weights-*"))


def test_weights_are_refused_while_caches_hold_old_ones(world: World) -> None:
    with pytest.raises(WorkerError, match="rollout server 0 cannot receive weights while it is generating"):
        world.live.run(world.live.server.start_weight_update())


def test_sleep_waits_for_what_is_running(world: World) -> None:
    live = world.live
    running = live.submit(live.generating(world.prompts[:2], PLAN))
    while not live.server._rows:
        time.sleep(0.001)
    live.run(live.server.sleep(keep_weights=True))
    assert len(running.result(10)) == 8
    with pytest.raises(WorkerError, match="cannot generate while it is asleep"):
        live.generate(world.prompts[:1], PLAN)
    live.run(live.server.wake_weights())
    live.run(live.server.wake_cache())
    assert world.gap(live.generate(world.prompts, PLAN)) < EXACT


def test_a_dead_engine_is_reported_by_name_and_soon(world: World) -> None:
    live = world.live
    long = SamplingPlan(n=4, max_tokens=400, ignore_eos=True)
    before = live.run(live.server.tokens_made())
    running = live.submit(live.generating(world.prompts, long))
    while live.run(live.server.tokens_made()) == before:
        time.sleep(0.001)
    (engine,) = _engines(os.getpid())
    os.kill(engine, signal.SIGSTOP)
    time.sleep(0.1)  # for what was on its way
    before = live.run(live.server.tokens_made())
    live.run(live.server.check())  # a hanging engine is not dead, but
    time.sleep(0.3)
    assert live.run(live.server.tokens_made()) == before and not running.done()
    os.kill(engine, signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="the vLLM engine of rollout server 0 died"):
        running.result(30)
    assert time.monotonic() - begin < 10
    with pytest.raises(WorkerError, match="rollout server 0"):
        live.run(live.server.check())


def test_no_engine_outlives_a_killed_server(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", "qwen3")
    script = (
        "import asyncio, sys\n"
        "from verl.rollout.options import EngineOptions\n"
        "from verl.rollout.server import VllmServer\n"
        "async def main():\n"
        "    options = EngineOptions(model_path=sys.argv[1], max_model_len=128, device='cpu',"
        " weight_transfer='shm', dtype='float32')\n"
        "    await VllmServer(options).start()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    file = tmp_path / "serve.py"
    file.write_text(script)
    environment = {**os.environ, **engine_environment("cpu"), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, file, model], env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        started = b"ready\n" in iter(server.stdout.readline, b"")
        engines = _engines(server.pid)
        server.kill()
    assert started
    assert len(engines) == 1
    assert _wait_for(lambda: not Path(f"/proc/{engines[0]}").exists(), 10), "the engine is an orphan"


def _engines(server: int) -> list[int]:
    """Engine processes among the children of `server`."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    return [pid for pid, command in commands.items() if b"spawn_main" in command or b"EngineCore" in command]


def _wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    return None
