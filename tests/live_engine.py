# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A real engine for tests: a `VllmServer` in a thread, and what transformers says about its log-probs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from verl.models.adapter import ModelAdapter
from verl.rollout.engine import SamplingPlan
from verl.rollout.options import EngineOptions
from verl.rollout.server import VllmServer
from verl.types import Grid, ImageClip, MediaClip, MediaRef, Prompt, Record, Trajectory


class LiveServer:
    """A server and its event loop. Also the client through which a sender in this process talks to it."""

    def __init__(self, options: EngineOptions) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self.run(self._construct(options))
        self.run(self.server.start())

    async def _construct(self, options: EngineOptions) -> VllmServer:
        return VllmServer(options)

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 240) -> Any:
        return self.submit(coroutine).result(timeout)

    def generate(self, prompts: list[Prompt], plan: SamplingPlan) -> list[Trajectory]:
        """All groups at once; rows in order of group and index."""
        return self.run(self.generating(prompts, plan))

    async def generating(self, prompts: list[Prompt], plan: SamplingPlan) -> list[Trajectory]:
        async def group(place: int, prompt: Prompt) -> list[Trajectory]:
            return [row async for row in self.server.generate_group(prompt, place, plan)]

        groups = await asyncio.gather(*(group(place, prompt) for place, prompt in enumerate(prompts)))
        return sorted((row for rows in groups for row in rows), key=lambda row: (row.group, row.index))

    def close(self) -> None:
        self.run(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # vLLM's weight-sync client protocol

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        self.run(self.server.init_weight_transfer_engine(WeightTransferInitRequest(init_info=init_info)))

    def start_weight_update(self) -> None:
        self.run(self.server.start_weight_update())

    def update_weights(self, update_info: Any) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        self.run(self.server.update_weights(WeightTransferUpdateRequest(update_info=update_info)))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.run(self.server.finish_weight_update())
        if weight_version is not None:
            self.run(self.server.update_weight_version(weight_version))


class ModuleWeights:
    """Weights of a module that is not sharded."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def metadata(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, p.dtype, tuple(p.shape)) for name, p in self.module.named_parameters()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self.module.named_parameters()


def make_prompt(adapter: ModelAdapter, question: str, media: tuple[MediaRef, ...] = ()) -> Prompt:
    num_images = sum(ref.kind == "image" for ref in media)
    text = adapter.render(question, len(media) - num_images, num_images=num_images)
    collapsed = adapter.encode(text)
    expanded = adapter.expand(collapsed, [ref.metadata for ref in media])
    record = Record(id=question, where="test:1", problem=question, answer="A", problem_type="open", data_type="video")
    return Prompt(
        record=record,
        text=text,
        collapsed_ids=collapsed,
        ids=expanded.ids,
        grids=expanded.grids,
        media=media,
    )


class Reference:
    """The same model in transformers, unpacked and unbatched: one forward pass per response."""

    def __init__(self, model_path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
            model_path, dtype=dtype, attn_implementation="sdpa"
        ).to(device)
        self._processor = AutoProcessor.from_pretrained(model_path)

    @torch.no_grad()
    def perturb(self, std: float, seed: int = 0) -> None:
        """Change every weight, those of the vision tower and of the embedding too."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter += noise.to(parameter.device, parameter.dtype)

    def logprobs(self, row: Trajectory, temperature: float, clips: Mapping[str, MediaClip] | None = None) -> np.ndarray:
        """[R]."""
        logprobs = (self.logits(row, clips) / temperature).log_softmax(-1)
        ids = torch.from_numpy(row.response_ids).long()[:, None].to(logprobs.device)
        return logprobs.gather(-1, ids)[:, 0].cpu().numpy()

    @torch.no_grad()
    def logits(self, row: Trajectory, clips: Mapping[str, MediaClip] | None = None) -> torch.Tensor:
        """[R, V]. Features go where the prompt has placeholders; the response is text whatever it holds."""
        model, core = self.model, self.model.model
        num_prompt = len(row.prompt.ids)
        ids = torch.from_numpy(np.concatenate([row.prompt.ids, row.response_ids])).long()[None].to(model.device)
        embeds = core.get_input_embeddings()(ids)
        positions, mask, deep = self._text_positions(ids.shape[1]), None, None
        if row.prompt.media:
            mask = self._kinds(ids) > 0
            mask[0, num_prompt:] = False
            seen = [self._look((clips or {})[ref.key]) for ref in row.prompt.media]
            features, *deep = (torch.cat(level) for level in zip(*seen, strict=True))
            embeds = embeds.masked_scatter(mask[..., None], features.to(embeds))
            positions = self._positions(ids, num_prompt, row.prompt)
        hidden = core.language_model(
            input_ids=None,
            inputs_embeds=embeds,
            position_ids=positions,
            use_cache=False,
            visual_pos_masks=mask,
            deepstack_visual_embeds=deep,
        ).last_hidden_state[0, num_prompt - 1 : -1]
        return model.lm_head(hidden).float()

    def _look(self, clip: MediaClip) -> list[torch.Tensor]:
        """Features of one medium, and those of the deeper levels."""
        pixels, options = torch.from_numpy(np.array(clip.frames)), {"do_resize": False, "return_tensors": "pt"}
        device, dtype, core = self.model.device, self.model.dtype, self.model.model
        if isinstance(clip, ImageClip):
            made = self._processor.image_processor(images=list(pixels), **options)
            values, grid = made["pixel_values"], made["image_grid_thw"]
            seen = core.get_image_features(values.to(device, dtype), grid.to(device), return_dict=True)
        else:
            made = self._processor.video_processor(videos=[pixels], do_sample_frames=False, **options)
            values, grid = made["pixel_values_videos"], made["video_grid_thw"]
            seen = core.get_video_features(values.to(device, dtype), grid.to(device), return_dict=True)
        return [torch.cat(list(level)) for level in (seen.pooler_output, *seen.deepstack_features)]

    def _text_positions(self, length: int) -> torch.Tensor:
        return torch.arange(length, device=self.model.device).expand(4, 1, length)

    def _kinds(self, ids: torch.Tensor) -> torch.Tensor:
        """transformers' numbers: 1 on images, 2 on videos."""
        config = self.model.config
        return (ids == config.image_token_id).int() + (ids == config.video_token_id).int() * 2

    def _positions(self, ids: torch.Tensor, num_prompt: int, prompt: Prompt) -> torch.Tensor:
        grids: dict[str, list[Grid]] = {"image": [], "video": []}
        for ref, grid in zip(prompt.media, prompt.grids, strict=True):
            grids[ref.kind].append(grid)
        given = {f"{kind}_grid_thw": torch.tensor(each, device=ids.device) for kind, each in grids.items() if each}
        asked = ids[:, :num_prompt]
        axes, _ = self.model.model.get_rope_index(asked, mm_token_type_ids=self._kinds(asked), **given)
        num_response = ids.shape[1] - num_prompt
        rest = axes.max() + 1 + torch.arange(num_response, device=ids.device).expand(3, 1, num_response)
        return torch.cat([self._text_positions(ids.shape[1])[:1], torch.cat([axes, rest], dim=-1)])
