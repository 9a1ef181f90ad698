# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Teaches a random model the form of an answer, and nothing about the videos.

Every target is the answer to another scene, drawn by lot: the model learns to say `<answer>B</answer>`, and which
letter is right stays for reinforcement learning to find out. No row's own answer is read.

With `captions` it teaches to see as well: to describe scenes drawn for this alone, in a code that no answer is written
in. What to do with what is seen stays for reinforcement learning all the same.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import jinja2
import torch
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
from transformers.video_utils import VideoMetadata

from examples.quickstart.all_kinds import ALL_KINDS
from examples.quickstart.captions import QUESTION, caption
from examples.quickstart.make_model import RECIPE
from examples.quickstart.make_videos import KNOWN_KINDS, STILL_SIZE, VideoFormat, paint
from verl.media.image import ImageSource
from verl.media.source import MediaSource, SourceMode, load
from verl.models.adapter import KINDS, MARK
from verl.types import VIDEO_MARK, ImageSpec, VideoClip, VideoSpec

VIDEO = VideoSpec(fps=2.0, max_frames=8, min_pixels=64 * 64, max_pixels=64 * 64)  # as in quickstart.yaml
IMAGE = ImageSpec(min_pixels=STILL_SIZE**2, max_pixels=STILL_SIZE**2)  # as in joint.yaml

Row = Mapping[str, Any]
Clip = tuple[torch.Tensor, VideoMetadata]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How long and how fast."""

    steps: int = 100
    batch_size: int = 16
    lr: float = 1e-3
    decay: bool = False  # whether lr falls to nothing in a straight line
    captions: int = 0  # of a batch: scenes to describe; the rest is the form of answers
    seed: int = 0


class FormBatches:
    """Turns rows into processor inputs with a random, well-formed answer each."""

    def __init__(self, model: Path, data: Path, settings: WarmUp) -> None:
        self.processor = AutoProcessor.from_pretrained(model)
        self.template = jinja2.Template(Path(__file__).with_name("prompt.jinja").read_text())
        self.data = data
        self.settings = settings
        self.rng = random.Random(settings.seed)
        self.clip, self.image = functools.cache(read_clip), functools.cache(read_image)  # 0.1 MB each

    def draw(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Model inputs for one batch, with `labels` [B, P + R] that are -100 outside of the answers."""
        texts, videos, images, answers = [], list[Clip](), list[torch.Tensor](), []
        for place, row in enumerate(self.rng.choices(rows, k=self.settings.batch_size)):
            clips = [self.clip(self.data / path) for path in row.get("videos", ())]
            if place < self.settings.captions:
                row, clip, answer = self.captioned(clips[0][1])
                clips = [clip]
            else:
                answer = f"<answer>{self.random_answer(row)}</answer>"
            texts.append(self.prompt(row))
            videos += clips
            images += [self.image(self.data / path) for path in row.get("images", ())]
            answers.append(f"{answer}<|im_end|>")
        batch = self.processor(
            text=[text + answer for text, answer in zip(texts, answers, strict=True)],
            images=images or None,
            videos=[frames for frames, _ in videos] or None,
            video_metadata=[metadata for _, metadata in videos] or None,
            do_resize=False,
            do_sample_frames=False,
            padding=True,
            return_tensors="pt",
        )
        labels = torch.full_like(batch["input_ids"], -100)
        for row_labels, ids, mask, answer in zip(
            labels, batch["input_ids"], batch["attention_mask"], answers, strict=True
        ):
            end = int(mask.sum())
            start = end - len(self.processor.tokenizer.encode(answer))
            row_labels[start:end] = ids[start:end]
        return {**batch, "labels": labels}

    def prompt(self, row: Row) -> str:
        """The chat text that ends where the answer begins."""
        text = self.template.render(row)
        media = [{"type": KINDS[mark]} for mark in MARK.findall(text)]
        content = [*media, {"type": "text", "text": MARK.sub("", text)}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def captioned(self, metadata: VideoMetadata) -> tuple[Row, Clip, str]:
        """A question that no row asks, a new scene of the length and rate of `metadata`, and what is seen in it."""
        kind = self.rng.choice(tuple(ALL_KINDS.values()))
        scene, _ = kind.draw(self.rng, self.rng.randrange(840), 4.0)
        frames = paint(scene, VideoFormat())[metadata.frames_indices]
        clip = (torch.from_numpy(frames).permute(0, 3, 1, 2), metadata)
        return {"problem": QUESTION}, clip, caption(scene)

    def random_answer(self, row: Row) -> str:
        """A valid answer to this kind of question, drawn without a look at the row's video or answer."""
        asked = row["problem"]
        kind = next(kind for kind in KNOWN_KINDS.values() if asked.endswith(kind.problem.removeprefix(VIDEO_MARK)))
        return kind.draw(self.rng, self.rng.randrange(840), 4.0)[1]


def read_clip(path: Path) -> Clip:
    """Frames [F, 3, H, W] uint8 as training will see them, and where they came from."""
    clip = cast(VideoClip, load(MediaSource(SourceMode.REALTIME_ONLY, None, VIDEO).ref(path)))
    metadata = VideoMetadata(
        fps=clip.metadata.source_fps,
        frames_indices=list(clip.metadata.frame_indices),
        total_num_frames=clip.metadata.total_frames,
        duration=clip.metadata.duration,
    )
    return torch.from_numpy(clip.frames), metadata


def read_image(path: Path) -> torch.Tensor:
    """Pixels [3, H, W] uint8 as training will see them."""
    return torch.from_numpy(load(ImageSource(IMAGE).ref(path)).frames[0])


def warm_up(model: Path, data: Path, output: Path, settings: WarmUp, lessons: type[FormBatches] = FormBatches) -> bool:
    """Trains the model at `model` and saves it at `output`. False if `output` was made from all of this before."""
    marker = output / "warm_up.json"
    sources = {path.name: path.read_text() for path in (model / RECIPE, data / "manifest.json")}
    wanted = json.dumps({**asdict(settings), **sources}, indent=2) + "\n"
    if marker.is_file() and marker.read_text() == wanted:
        return False
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    batches = lessons(model, data, settings)
    network = Qwen3VLForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=0.0)
    for step in range(1, settings.steps + 1):
        if settings.decay:
            optimizer.param_groups[0]["lr"] = settings.lr * (1 - (step - 1) / settings.steps)
        loss = network(**batches.draw(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"warm-up step {step}: loss {loss.item():.3f}")
    marker.unlink(missing_ok=True)
    shutil.copytree(model, output, dirs_exist_ok=True)
    network.save_pretrained(output)
    marker.write_text(wanted)
    return True


def main() -> None:
    """Warms up unless the output directory already holds the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("outputs/quickstart/random"))
    parser.add_argument("--data", type=Path, default=Path("outputs/quickstart/data"))
    parser.add_argument("--output", type=Path, default=Path("outputs/quickstart/model"))
    parser.add_argument("--steps", type=int, default=WarmUp().steps)
    parser.add_argument("--captions", type=int, default=0, help="of the 16 rows of a batch, scenes to describe")
    parser.add_argument("--lr", type=float, default=WarmUp().lr)
    parser.add_argument("--decay", action="store_true", help="let the learning rate fall to nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = WarmUp(**{name: getattr(arguments, name) for name in ("steps", "captions", "lr", "decay", "seed")})
    trained = warm_up(arguments.model, arguments.data, arguments.output, settings)
    print(f"warmed-up model: {arguments.output} ({'trained' if trained else 'already there, reused'})")


if __name__ == "__main__":
    main()
