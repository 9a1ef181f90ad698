# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a model folder one question about a held-out video, through vLLM.

python -m examples.quickstart.ask --config examples/quickstart/quickstart.yaml --model outputs/quickstart/merged
"""

from __future__ import annotations

import argparse
import asyncio
import os

from verl.config.load import load
from verl.config.plan import Plan
from verl.data.dataset import build_dataset
from verl.models.adapter import load_adapter
from verl.rollout.configured import engine_options, sampling_plan
from verl.rollout.engine import SamplingPlan
from verl.rollout.environment import engine_environment
from verl.rollout.options import EngineOptions
from verl.trainer.wiring import resolve_device
from verl.types import Prompt, Trajectory
from verl.workers.process import configure_logging


async def ask(options: EngineOptions, prompt: Prompt, plan: SamplingPlan) -> Trajectory:
    """The greedy answer."""
    from verl.rollout.server import VllmServer  # reads its environment at import

    server = VllmServer(options)
    await server.start()
    try:
        return await anext(server.generate_group(prompt, 0, plan.greedy()))
    finally:
        await server.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", required=True, help="the YAML file of the training run")
    parser.add_argument("--model", required=True, help="a Hugging Face folder")
    parser.add_argument("--row", type=int, default=0, help="which validation row to ask about")
    arguments = parser.parse_args()
    config = load([f"config={arguments.config}", f"worker.actor.model.model_path={arguments.model}"])
    configure_logging("ask")
    device = resolve_device(config)
    os.environ |= engine_environment(device)
    dataset = build_dataset(config.data, load_adapter(arguments.model), train=False)
    prompt = dataset[arguments.row]
    options = engine_options(
        config,
        device,
        Plan.of(config, 1, device),
        max_videos=len(prompt.record.videos),
        max_images=len(prompt.record.images),
    )
    answer = asyncio.run(ask(options, prompt, sampling_plan(config)))
    record = prompt.record
    print(f"video     {record.videos[0]}")
    print(f"question  {record.problem.removeprefix('<video>')}  {'  '.join(record.options)}")
    print(f"answer    {answer.text}   (truth: {record.answer})")


if __name__ == "__main__":
    main()
