# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""MVBench (arXiv 2311.17005): 20 tasks with 200 questions each."""

from __future__ import annotations

from eval.annotations import FILE, text_answer
from eval.benchmark import register
from eval.choices import CONVERTED, Choices, Columns, Fields, Words, multiple_choice
from eval.extraction import same_first_word
from eval.item import WRONG, EvalItem, Grade
from verl.data.files import Row

STAR, CLEVRER, PERCEPTION = "star/Charades_v1_480", "clevrer/video_validation", "perception/videos"
TVQA, TVQA_FPS = "tvqa/frames_fps3_hq", 3.0
FOLDERS = {  # of the videos of a task, by the file of its questions
    "action_sequence": STAR,
    "action_prediction": STAR,
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": CLEVRER,
    "object_interaction": STAR,
    "object_shuffle": PERCEPTION,
    "moving_direction": CLEVRER,
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": PERCEPTION,
    "moving_count": CLEVRER,
    "moving_attribute": CLEVRER,
    "state_change": PERCEPTION,
    "fine_grained_pose": "nturgbd",
    "character_order": PERCEPTION,
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": TVQA,
    "counterfactual_inference": CLEVRER,
}


def located(row: Row) -> list[Row]:
    """The row with the path of its video. Those of TVQA are folders of frames."""
    if "path" in row.fields:
        return [row]
    folder, name = FOLDERS.get(str(row.fields[FILE])), str(row.fields.get("video", ""))
    told = {"video_path": f"{folder}/{name}" if folder else name}
    rate = {"folder_fps": TVQA_FPS} if folder == TVQA else {}
    return [Row(where=row.where, fields={**row.fields, **told, **rate})]


def task(fields: Fields) -> list[str]:
    """The task, which is the name of the file of an official row."""
    name = str(fields[FILE])
    return [name.replace("_", " ").title().replace("Fine Grained", "Fine-grained")] if name in FOLDERS else []


def official(item: EvalItem, response: str) -> Grade:
    """By the first words, one of which has to contain the other. The script calls an empty response right: not here."""
    if not response.strip():
        return WRONG
    is_right = bool(item.answer) and same_first_word(response, f"({item.answer}) ")
    return Grade(score=float(is_right), parsed=response.split(" ")[0])


register(
    multiple_choice(
        Choices(
            name="mvbench",
            title="MVBench",
            source="https://huggingface.co/datasets/OpenGVLab/MVBench",
            num_items=4000,
            rows=located,
            columns=(
                CONVERTED,
                Columns(
                    id="{annotation_file}-{annotation_row}",
                    video="{video_path}",
                    options="candidates",
                    are_labelled=False,
                    truth=text_answer,
                    labels={"task": task},
                ),
            ),
            words=Words(
                system="Carefully watch the video and pay attention to the cause and sequence of events, the detail and"
                " movement of objects, and the action and pose of persons. Based on your observations, select the best"
                " option that accurately addresses the question.",
                user="Question: {question}\nOptions:\n{options}\nOnly give the best option.",
                option="({letter}) {text}",
                prefix="Best option:(",
            ),
            official=official,
            breakdowns=("task",),
        )
    )
)
