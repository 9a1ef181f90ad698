# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import threading

from tests.unit.rollout.builders import make_clip, make_ref
from verl.errors import MediaError
from verl.rollout.clips import ClipPool


def test_all_who_ask_at_the_time_share_one_load():
    loads = []
    gate = threading.Event()

    def load(ref):
        gate.wait(5)
        loads.append(ref.key)
        return make_clip()

    async def scenario():
        pool = ClipPool(load)
        asking = [asyncio.create_task(pool.load(make_ref(key))) for key in "aabab"]
        await asyncio.sleep(0)
        gate.set()
        clips = await asyncio.gather(*asking)
        assert clips[0] is clips[1] is clips[3]
        assert pool.drain() == (2, 2)

    asyncio.run(scenario())
    assert sorted(loads) == ["a", "b"]


def test_a_clip_is_held_until_the_last_who_wants_it_is_done():
    async def scenario():
        pool = ClipPool(lambda ref: make_clip())
        ref = make_ref("a")
        pool.want([ref])
        pool.want([ref])
        first = await pool.load(ref)
        pool.release([ref])
        assert await pool.load(ref) is first
        pool.release([ref])
        pool.want([ref])
        assert await pool.load(ref) is not first
        assert pool.drain() == (2, 1)
        assert pool.drain() == (0, 0)

    asyncio.run(scenario())


def test_who_gives_up_does_not_stop_the_others():
    gate = threading.Event()

    def load(ref):
        gate.wait(5)
        return make_clip()

    async def scenario():
        pool = ClipPool(load)
        first, second = (asyncio.create_task(pool.load(make_ref("a"))) for _ in "ab")
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        assert (await second).metadata == make_clip().metadata

    asyncio.run(scenario())


def test_a_failure_reaches_all_who_asked():
    def load(ref):
        raise MediaError(f"{ref.path} is broken")

    async def scenario():
        pool = ClipPool(load)
        results = await asyncio.gather(*(pool.load(make_ref("a")) for _ in "ab"), return_exceptions=True)
        assert [str(result) for result in results] == ["a.mp4 is broken"] * 2

    asyncio.run(scenario())
