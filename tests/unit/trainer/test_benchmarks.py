# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Public benchmarks at validation: the trainer generates, the evaluation words and grades."""

import json
from dataclasses import replace

import pytest

from tests.rows import prompt
from tests.unit.trainer.fakes import FakeRollout
from tests.videos import numbered_video
from tests.world import tiny_model
from verl.models.adapter import load_adapter
from verl.registry import load_attribute
from verl.rollout.engine import SamplingPlan
from verl.tracking.metrics import values
from verl.trainer.benchmarks import PLUG_IN, BenchmarkRunner
from verl.types import ImageSpec, VideoSpec

PLAN = SamplingPlan(n=4, temperature=0.7, max_tokens=64, seed=3)


class Spy(FakeRollout):
    def __init__(self):
        super().__init__()
        self.calls = []

    def generate(self, prompts, plan, asks=None):
        self.calls.append((len(prompts), plan))
        for row in super().generate(prompts, plan, asks):
            yield replace(row, text="B" if row.prompt.record.id.endswith("0") else "A")


class Three:
    """Three questions, the last of which cannot be asked."""

    names = ("toy",)

    def max_tokens(self, name):
        return 16

    def prompts(self, name):
        yield from (prompt("a-0"), prompt("a-1"))

    def figures(self, name, responses):
        self.responses = dict(responses)
        return {"overall": 50.0, "failed": 1.0}


def test_every_question_is_asked_once_and_greedily():
    rollout, three = Spy(), Three()
    metrics = values(BenchmarkRunner(benchmarks=three, plan=PLAN, rollout=rollout, batch_size=1).run())
    assert [count for count, _ in rollout.calls] == [1, 1]
    assert all((plan.n, plan.temperature, plan.max_tokens) == (1, 0.0, 16) for _, plan in rollout.calls)
    assert three.responses == {"a-0": "B", "a-1": "A"}
    assert metrics == {"val_benchmark/toy/overall": 50.0, "val_benchmark/toy/failed": 1.0}


def test_the_evaluation_package_is_such_a_set(tmp_path):
    plug_in = tmp_path / "plug.py"
    plug_in.write_text(
        "import json\nfrom dataclasses import replace\nfrom eval.item import Medium\n"
        "from tests.unit.eval.world import TOY as PLAIN, item\n"
        "one = lambda name: item(name, name[:1], media=(Medium(path=name[:1] + '.mp4'),))\n"
        "read = lambda path: [one(name) for name in json.loads(path.read_text())]\n"
        "from eval.benchmark import Wording\n"
        "ask = lambda item, media: Wording(user='<video>' + item.question)\n"
        "TOY = replace(PLAIN, read=read, ask={'official': ask})\n"
    )
    (tmp_path / "toy.json").write_text(json.dumps(["a-0", "a-1", "b-0"]))
    (tmp_path / "toy" / "videos").mkdir(parents=True)
    numbered_video(tmp_path / "toy" / "videos" / "a.mp4")  # and none for b
    adapter = load_adapter(str(tiny_model(tmp_path / "model", tied=True)))
    name = f"{plug_in}:TOY"
    setting = {
        "names": (name,),
        "data_root": str(tmp_path),
        "cache_dir": str(tmp_path / "cache"),
        "style": "official",
        "limit": None,
        "decode_workers": 1,
    }
    view = {
        "adapter": adapter,
        "video": VideoSpec(fps=2.0, max_frames=4, min_pixels=1024, max_pixels=4096),
        "image": ImageSpec(min_pixels=1024, max_pixels=4096),
        "max_prompt_length": 512,
    }
    opened = load_attribute(f"{PLUG_IN}:open_benchmarks")(setting, view)
    assert opened.names == (name,) and opened.num_media("video") == 1 and opened.num_media("image") == 0
    asked = list(opened.prompts(name))
    assert [one.record.id for one in asked] == ["a-0", "a-1"] and asked[0].media
    figures = opened.figures(name, {"a-0": "B", "a-1": "A"})
    assert figures == pytest.approx({"overall": 100 / 3, "failed": 1.0})
