# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The server around an engine that answers when it is told to. tests/integration has the real one."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.rollout.builders import make_clip, make_prompt
from verl.errors import AlignmentError, DataError, MediaError, WorkerError
from verl.rollout.clips import ClipPool
from verl.rollout.engine import Completion, EngineStats, SamplingPlan, Slept
from verl.rollout.options import EngineOptions
from verl.rollout.requests import row_seed
from verl.rollout.server import SLOTS_PER_SEQUENCE, VllmServer

OPTIONS = EngineOptions(model_path="none", max_model_len=64, device="cpu", weight_transfer="shm", max_num_seqs=2)


class FakeEngine:
    """Later rows are faster. `calls` are what the server asked for."""

    def __init__(self, options):
        self.calls = []
        self.running = self.most_running = 0
        self.errored = False
        self.error = None
        self.finish_reason = "stop"
        self.prompt_ids = make_prompt().ids

    async def answer(self, request, arguments):
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.01 * (10 - len(self.calls)))
            if self.error is not None:
                raise self.error
        finally:
            self.running -= 1
        return Completion(
            prompt_ids=self.prompt_ids,
            cached_prompt_tokens=4,
            ids=np.array([5, 6], np.int32),
            logprobs=np.array([-0.5, -1.0], np.float32),
            finish_reason=self.finish_reason,
            weight_version=3,
        )

    def decode(self, ids, *, skip_special_tokens):
        return f"{ids.tolist()} {skip_special_tokens}"

    async def device_memory(self):
        return 5 if any(name == "sleep" for name, *_ in self.calls) else 30

    def shutdown(self):
        self.calls.append(("shutdown",))

    def __getattr__(self, name):
        async def call(*args, **kwargs):
            self.calls.append((name, *args, *kwargs.values()))

        return call


def serve(scenario, options=OPTIONS):
    async def run():
        server = VllmServer(options, 1, FakeEngine)
        await server.start()
        await scenario(server, server._engine)

    asyncio.run(run())


async def generate(server, prompt, plan, group=7):
    return [row async for row in server.generate_group(prompt, group, plan)]


def test_a_trajectory_carries_what_the_engine_said():
    async def scenario(server, engine):
        (row,) = await generate(server, make_prompt(), SamplingPlan(skip_special_tokens=False))
        assert (row.group, row.index, row.truncated, row.weight_version) == (7, 0, False, 3)
        assert row.text == "[5, 6] False"
        assert row.rollout_logprobs.tolist() == [-0.5, -1.0]
        engine.finish_reason = "length"
        (row,) = await generate(server, make_prompt(), SamplingPlan())
        assert row.truncated

    serve(scenario)


def test_rows_stream_as_they_finish():
    async def scenario(server, engine):
        delivered = asyncio.Event()

        async def answer(request, arguments, original=engine.answer):
            if arguments["seed"] == row_seed(1, 0, 0):  # the first row waits until the second is delivered
                await delivered.wait()
            return await original(request, arguments)

        engine.answer = answer
        order = []
        async for row in server.generate_group(make_prompt(), 0, SamplingPlan(n=2, seed=1)):
            order.append(row.index)
            delivered.set()
        assert order == [1, 0]

    serve(scenario)


def test_a_burst_of_prompts_holds_no_more_pixels_than_the_engine_can_soon_use():
    async def scenario(server, engine):
        await asyncio.gather(*(generate(server, make_prompt(), SamplingPlan(n=4)) for _ in range(8)))
        assert engine.most_running == SLOTS_PER_SEQUENCE * OPTIONS.max_num_seqs

    serve(scenario)


def test_tokens_are_counted_while_rows_grow_and_after():
    async def scenario(server, engine):
        engine.tokens_under_way = 3
        assert await server.tokens_made() == 3
        await generate(server, make_prompt(), SamplingPlan(n=4))
        await server.drain_stats()
        assert await server.tokens_made() == 4 * 2 + 3

    serve(scenario)


def test_clips_are_loaded_once_for_a_group_and_forgotten_when_idle():
    async def scenario(server, engine):
        server._clips = ClipPool(lambda ref: make_clip())
        await generate(server, make_prompt("a"), SamplingPlan(n=3))
        await generate(server, make_prompt("a"), SamplingPlan(n=3))
        assert await server.drain_stats() == EngineStats(
            num_rows=6,
            prompt_tokens=60,
            cached_prompt_tokens=24,
            response_tokens=12,
            media_loads=2,
            distinct_media=1,
        )
        assert await server.drain_stats() == EngineStats()

    serve(scenario)


def test_whoever_stops_listening_stops_the_rest_of_the_group():
    async def scenario(server, engine):
        rows = server.generate_group(make_prompt(), 0, SamplingPlan(n=4))
        await anext(rows)
        await rows.aclose()
        assert engine.running == 0

    serve(scenario)


def test_errors_name_server_and_row():
    async def scenario(server, engine):
        engine.error = ValueError("bad request")
        with pytest.raises(WorkerError, match=r"rollout server 1 failed while answering rows.jsonl:3: bad request"):
            await generate(server, make_prompt(), SamplingPlan(n=2))
        engine.errored = True
        with pytest.raises(WorkerError, match=r"vLLM engine of rollout server 1 died while answering rows.jsonl:3"):
            await generate(server, make_prompt(), SamplingPlan())
        engine.error, engine.finish_reason = None, "abort"
        with pytest.raises(WorkerError, match=r"gave up on rows.jsonl:3: abort"):
            await generate(server, make_prompt(), SamplingPlan())

    serve(scenario)


def test_bad_prompts_are_data_errors():
    def broken(ref):
        raise MediaError(f"{ref.path} is broken")

    async def scenario(server, engine):
        with pytest.raises(DataError, match=r"64 tokens"):
            await generate(server, make_prompt(length=64), SamplingPlan())
        with pytest.raises(AlignmentError, match=r"rows.jsonl:3"):
            await generate(server, make_prompt(length=9), SamplingPlan())
        server._clips = ClipPool(broken)
        with pytest.raises(MediaError, match=r"a.mp4 is broken"):
            await generate(server, make_prompt("a"), SamplingPlan(n=2))

    serve(scenario)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("sleep", 2, "wait"), ("wake_up", ["weights"]), ("wake_up", ["kv_cache"])]),
        ({"device": "cuda"}, [("sleep", 2, "wait"), ("wake_up", ["weights"]), ("wake_up", ["kv_cache"])]),
        ({"device": "cuda", "colocated": False}, [("pause_generation", "wait", True), ("resume_generation",)]),
    ],
)
def test_caches_are_empty_whenever_weights_may_arrive(changes, expected):
    async def scenario(server, engine):
        engine.calls.clear()
        await server.sleep()
        await server.wake_weights()
        await server.start_weight_update()
        await server.finish_weight_update()
        await server.wake_cache()
        weights = [("start_weight_update",), ("finish_weight_update",)]
        place = len(expected) - 1
        assert engine.calls == [*expected[:place], *weights, *expected[place:]]

    serve(scenario, replace(OPTIONS, **changes))


def test_sleep_lets_rows_finish_before_it_touches_the_engine():
    async def scenario(server, engine):
        group = asyncio.create_task(generate(server, make_prompt(), SamplingPlan(n=8)))
        await asyncio.sleep(0)
        await server.sleep()
        assert engine.running == 0
        assert len(await group) == 8

    serve(scenario)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"device": "cuda"}, Slept(before=30, after=5)), ({"device": "cuda", "colocated": False}, None), ({}, None)],
)
def test_a_sleep_that_gives_memory_back_says_how_much(changes, expected):
    async def scenario(server, engine):
        assert await server.sleep() == expected

    serve(scenario, replace(OPTIONS, **changes))


def test_a_sleep_that_is_followed_by_no_weights_keeps_them():
    async def scenario(server, engine):
        await server.sleep(keep_weights=True)
        assert engine.calls[-1] == ("sleep", 1, "wait")

    serve(scenario)


def test_adapters_arrive_as_a_folder_between_the_phases_and_what_they_belong_to_stays():
    seen = []

    async def look(folder):
        seen.append((folder, json.loads((folder / "adapter_config.json").read_text())))
        assert (folder / "adapter_model.safetensors").read_bytes() == b"weights"

    async def scenario(server, engine):
        with pytest.raises(WorkerError, match="cannot receive adapters while it is generating"):
            await server.load_adapter({"r": 4}, b"weights")
        await server.sleep()
        assert engine.calls[-1] == ("sleep", 1, "wait")
        await server.wake_weights()
        engine.load_adapter = look
        await server.load_adapter({"r": 4}, b"weights")
        ((folder, settings),) = seen
        assert settings == {"r": 4} and not folder.exists()

    serve(scenario, replace(OPTIONS, lora_rank=4))


def test_steps_out_of_order_are_refused():
    async def scenario(server, engine):
        for step in (server.wake_weights, server.wake_cache, server.start_weight_update):
            with pytest.raises(WorkerError, match=r"while it is generating; the order is"):
                await step()
        await server.sleep()
        for step in (server.sleep, server.wake_cache, server.start_weight_update):
            with pytest.raises(WorkerError, match=r"while it is asleep"):
                await step()
        with pytest.raises(WorkerError, match=r"cannot generate while it is asleep"):
            await generate(server, make_prompt(), SamplingPlan())

    serve(scenario)


def test_closing_twice_is_closing_once():
    async def scenario(server, engine):
        await server.close()
        await server.close()
        assert engine.calls.count(("shutdown",)) == 1
        with pytest.raises(WorkerError, match=r"not running"):
            await server.check()

    serve(scenario)


def test_an_engine_that_does_not_start_says_what_to_change():
    def fail(options):
        raise RuntimeError("Engine core initialization failed")

    with pytest.raises(WorkerError, match=r"rollout server 0 did not start.*kv_cache_memory_mb"):
        asyncio.run(VllmServer(OPTIONS, open_engine=fail).start())
