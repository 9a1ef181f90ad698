# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import logging
from pathlib import Path
from typing import Any

import pytest

from verl.data.templates import Template
from verl.errors import ConfigError, DataError
from verl.types import Record

EXAMPLE = Path(__file__).parents[3] / "examples/video_rl/format_prompt/video.jinja"
TYPES = """multiple choice,numerical,number,regression,open-ended,video qa,video description,free-form,ocr,OCR,boolean,
binary classification,math,temporal grounding,spatial grounding,spatial-temporal grounding,tracking,segmentation,code,
svg-code,html-code,llava,critic""".replace("\n", "").split(",")


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
@pytest.mark.parametrize("made", [Template(None), Template(str(EXAMPLE))], ids=["built-in", "example"])
def test_every_task_type_asks_for_answer_tags_and_keeps_the_question(made: Template, kind: str, caplog):
    with caplog.at_level(logging.WARNING):
        text = made.render(record("<video>Is it\nyes/no?", problem_type=kind, options=("A. x", "B. y")))
    assert "<video>Is it\nyes/no?" in text and "<answer>" in text and "</answer>" in text
    assert text == text.strip() and not caplog.messages
    if kind == "multiple choice":
        assert "Options:\nA. x\nB. y\n" in text and "letter" in text


@pytest.mark.parametrize("made", [Template(None), Template(str(EXAMPLE))], ids=["built-in", "example"])
def test_task_types_are_worded_apart_however_they_are_spelled(made: Template):
    texts = {made.render(record(problem_type=kind)) for kind in ("boolean", "numerical", "tracking", "html-code")}
    assert len(texts) == 4
    spellings = ("spatial-temporal grounding", "Spatial_Temporal Grounding")
    assert len({made.render(record(problem_type=kind)) for kind in spellings}) == 1
