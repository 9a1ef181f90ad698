# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from verl.data.templates import Template
from verl.errors import ConfigError, DataError
from verl.rewards.contract import TASKS, RewardItem, find_task
from verl.rewards.router import Router
from verl.types import Record, Score

EXAMPLES = (None, *sorted(map(str, (Path(__file__).parents[3] / "examples").glob("*_rl/format_prompt/*.jinja"))))
MADE = pytest.mark.parametrize(
    "made", [Template(path) for path in EXAMPLES], ids=[Path(path or "built-in").stem for path in EXAMPLES]
)
TYPES = """multiple choice,numerical,number,regression,open-ended,video qa,video description,free-form,ocr,OCR,boolean,
binary classification,math,temporal grounding,spatial grounding,spatial-temporal grounding,tracking,segmentation,code,
svg-code,html-code,llava,critic""".replace("\n", "").split(",")
MEDIA = ("video", "image", "text")
PROGRAM_TESTS = {"tests": ["assert double(2) == 4", "assert double(-1) == -2"]}  # of the example program


def record(problem: str = "<video>Why?", **changes: Any) -> Record:
    values = {"id": "1", "where": "r:1", "problem": problem, "answer": "A", "problem_type": "numerical"}
    return Record(**{**values, "data_type": "video", **changes})


@pytest.fixture
def template(tmp_path):
    def make(text: str) -> Template:
        (tmp_path / "t.jinja").write_text(text)
        return Template(str(tmp_path / "t.jinja"))

    return make


def test_the_question_and_every_column_are_in_scope(template):
    row = record(fields={"hint": "look", "prompt": "unused"}, options=("A. x", "B. y"))
    text = template("{{ content }}|{{ problem }}|{{ hint }}|{{ options | join(',') }}|{{ problem_type }}").render(row)
    assert text == "<video>Why?|<video>Why?|look|A. x,B. y|numerical"


def test_columns_named_like_the_question_do_not_collide_with_it(template):
    row = record(fields={"problem": "other", "content": "other", "question": "<video>Why?", "self": 1})
    assert template("{{ content }} {{ problem }}").render(row) == "<video>Why? <video>Why?"


def test_the_result_is_stripped(template):
    assert template("\n\n  {{ content }}  \n").render(record()) == "<video>Why?"


def test_a_missing_name_renders_as_nothing_and_is_logged_once(template, caplog):
    made = template("a{{ nothing }}b{% if nothing %}c{% endif %}")
    with caplog.at_level(logging.WARNING):
        assert [made.render(record()) for _ in range(3)] == ["ab"] * 3
    assert len([line for line in caplog.messages if "'nothing'" in line]) == 1


def test_asking_whether_a_column_is_there_is_not_logged(template, caplog):
    with caplog.at_level(logging.WARNING):
        assert template("{% if hint is defined and hint %}{{ hint }}{% endif %}x").render(record()) == "x"
    assert not caplog.messages


def test_a_template_that_fails_names_the_row(template):
    for text in ("{{ 1 / 0 }}", "{{ nothing.deeper }}", "{{ problem + 1 }}"):
        with pytest.raises(DataError, match=r"r:1: template .*t\.jinja fails on this row"):
            template(text).render(record())


def test_a_template_cannot_reach_into_python(template):
    with pytest.raises(DataError, match="SecurityError"):
        template("{{ ''.__class__.__mro__ }}").render(record())
    with pytest.raises(DataError, match="SecurityError"):
        template("{{ options.append('x') }}").render(record(options=("A",)))


def test_what_is_no_template_is_refused_at_start(template):
    with pytest.raises(ConfigError, match=r"t\.jinja: line 2"):
        template("x\n{% if %}")
    with pytest.raises(ConfigError, match="no such file"):
        Template("nowhere.jinja")


@pytest.mark.parametrize("kind", TYPES)
@MADE
def test_every_task_type_asks_for_answer_tags_and_keeps_the_question(made: Template, kind: str, caplog):
    with caplog.at_level(logging.WARNING):
        text = made.render(record("<video>Is it\nyes/no?", problem_type=kind, options=("A. x", "B. y")))
    assert "<video>Is it\nyes/no?" in text and "<answer>" in text and "</answer>" in text
    assert text == text.strip() and not caplog.messages
    if kind == "multiple choice":
        assert "Options:\nA. x\nB. y\n" in text and "letter" in text


@MADE
def test_task_types_are_worded_apart_however_they_are_spelled(made: Template):
    texts = {made.render(record(problem_type=kind)) for kind in ("boolean", "numerical", "tracking", "html-code")}
    assert len(texts) == 4
    spellings = ("spatial-temporal grounding", "Spatial_Temporal Grounding")
    assert len({made.render(record(problem_type=kind)) for kind in spellings}) == 1


def test_there_is_a_wording_with_and_without_reasoning_and_one_for_videos():
    assert {Path(path).stem for path in EXAMPLES if path} == {"video", "unified", "unified_think", "unified_direct"}


def example_of(prompt: str, policy: str) -> str:
    """The example response that a prompt shows."""
    thought = r"<think>[^<]+</think>\n" if policy == "think_answer" else ""
    [example] = re.findall(rf"For example:\n({thought}<answer>.+?</answer>)$", prompt, re.DOTALL)
    return example


@MADE
@pytest.mark.parametrize("kind", sorted(TASKS))
def test_the_example_in_a_prompt_is_a_perfect_answer_of_its_task(made: Template, kind: str):
    media = MEDIA if kind.startswith("segmentation") else ("video",)
    policy = "think_answer" if "<think>" in made.render(record(problem_type=kind)) else "answer"
    for data_type in media:
        shown = example_of(made.render(record(problem_type=kind, data_type=data_type)), policy)
        answer = shown[shown.index("<answer>") + 8 : -len("</answer>")]
        truth = PROGRAM_TESTS if find_task(kind) is find_task("code") else answer
        row = record(problem_type=kind, data_type=data_type, answer=truth)
        [verdict] = Router(format_policy=policy).score([RewardItem(response=shown, response_length=9, record=row)])
        assert isinstance(verdict, Score) and verdict.overall == 1.0


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_no_task_is_without_words_of_its_own(kind: str):
    asked, unknown = (Template(None).render(record(problem_type=name)) for name in (kind, "riddle"))
    assert "For example" in asked and "For example" not in unknown
    assert "your final answer" in unknown and "your final answer" not in asked


@MADE
def test_options_are_shown_with_the_letters_by_which_they_are_scored(made: Template):
    for options in (("red", "blue"), ("A: red", "B: blue"), ("(A) red", "(B) blue"), ("B. blue", "A. red")):
        text = made.render(record(problem_type="multi-answer", options=options))
        assert {"A. red", "B. blue"} <= set(text.splitlines())
    long = tuple(f"x{number}" for number in range(30))
    assert "Options:\nx0\nx1\n" in made.render(record(problem_type="multiple choice", options=long))


@MADE
def test_what_is_asked_for_depends_on_the_row_where_the_parser_does(made: Template):
    moving, still = (made.render(record(problem_type="segmentation", data_type=kind)) for kind in ("video", "image"))
    assert '"time"' in moving and '"time"' not in still
    letter = made.render(record(problem_type="math", answer="B", options=("A. 1", "B. 2")))
    value = made.render(record(problem_type="math", answer="12", options=("A. 1", "B. 2")))
    assert "letter" in letter and "letter" not in value
