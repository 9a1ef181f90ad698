# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The calls into vLLM that start and ask an engine. Importing this imports vLLM: only where an engine runs.

`environment.engine_environment` must be in that process's environment before.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, cast

import numpy as np
from vllm import AsyncEngineArgs, SamplingParams
from vllm.config import ModelConfig, VllmConfig
from vllm.inputs import TokensPrompt
from vllm.logprobs import FlatLogprobs
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind
from vllm.transformers_utils.processor import cached_processor_from_config
from vllm.v1.engine.async_llm import AsyncLLM

from verl.rollout import lifeline
from verl.rollout.engine import Completion
from verl.rollout.options import EngineOptions
from verl.types import Tokens


class Engine(AsyncLLM):
    """AsyncLLM that answers in our words."""

    _adapter: LoRARequest | None = None  # what every request is answered with

    @classmethod
    def open(cls, options: EngineOptions) -> Engine:
        """Start the engine's processes and wait for the model. Call it in the running event loop."""
        lifeline.announce()
        config = _engine_config(options.arguments())
        return cast(Engine, cls.from_vllm_config(config, disable_log_stats=options.disable_log_stats))

    async def answer(self, request: dict[str, Any], arguments: dict[str, Any]) -> Completion:
        """One response, when it is finished; for what `requests` makes of a prompt and a plan."""
        params = SamplingParams(**arguments, output_kind=RequestOutputKind.FINAL_ONLY)
        answers = self.generate(cast(TokensPrompt, request), params, uuid.uuid4().hex, lora_request=self._adapter)
        output = [answer async for answer in answers][-1]
        completion = output.outputs[0]
        return Completion(
            prompt_ids=np.asarray(output.prompt_token_ids, dtype=np.int32),
            cached_prompt_tokens=output.num_cached_tokens or 0,
            ids=np.asarray(completion.token_ids, dtype=np.int32),
            logprobs=np.asarray(cast(FlatLogprobs, completion.logprobs).logprobs, dtype=np.float32),
            finish_reason=str(completion.finish_reason),
            weight_version=min(int(span.version) for span in completion.weight_versions or ()),
        )

    @property
    def tokens_under_way(self) -> int:
        """Response tokens that unfinished requests have so far."""
        states = self.output_processor.request_states.values()
        return sum(state.detokenizer.num_output_tokens() for state in states if state.detokenizer is not None)

    async def device_memory(self) -> int:
        """Bytes in use, by whatever process, of the CUDA device with most in use among the engine's."""
        return max(await self.collective_rpc("device_memory"))

    async def load_adapter(self, folder: Path) -> None:
        """Answer with the adapters in a peft folder from now on. The folder may go when this is done."""
        request = LoRARequest("policy", 1, str(folder), load_inplace=True)
        if not await self.add_lora(request):
            raise RuntimeError(f"vLLM did not load the adapters in {folder}")
        self._adapter = LoRARequest("policy", 1, str(folder))

    def decode(self, ids: Tokens, *, skip_special_tokens: bool) -> str:
        """The text of a response, spaces untouched."""
        tokenizer: Any = self.get_tokenizer()
        return tokenizer.decode(
            ids.tolist(), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )


def _engine_config(arguments: dict[str, Any]) -> VllmConfig:
    config = AsyncEngineArgs(**arguments).create_engine_config()
    if config.model_config.is_multimodal_model and _normalises_apart(config.model_config):
        # WORKAROUND(vllm 0.32): normalising on the device uses the image processor's mean and std for videos
        # too. For a model whose two processors differ, leave it to the processor.
        return AsyncEngineArgs(**arguments, mm_device_do_normalize=False).create_engine_config()
    return config


def _normalises_apart(config: ModelConfig) -> bool:
    processor = cached_processor_from_config(config)
    image, video = (getattr(processor, f"{kind}_processor", None) for kind in ("image", "video"))
    if image is None or video is None:
        return False
    return [*image.image_mean, *image.image_std] != [*video.image_mean, *video.image_std]
