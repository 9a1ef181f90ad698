# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""TempCompass (arXiv 2403.00476): five aspects of time, asked in four ways.

Rules first, as published; what they leave open, and every caption, is for a judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from eval.aggregate import by_label, macro, micro
from eval.annotations import FILE, FOLDER, first_of, letter_answer, read_annotations, split_options, unique
from eval.benchmark import Benchmark, register
from eval.grading import CHOICE
from eval.item import WRONG, EvalItem, Grade, Graded, Medium, Number
from eval.wording import asking
from verl.data.files import Row
from verl.errors import DataError
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.answers import unwrap_truth

ASPECTS = ("action", "direction", "speed", "order", "attribute_change")
KINDS = ("multi-choice", "yes_no", "caption_matching", "captioning")
ENDINGS = {
    "multi-choice": "\nPlease directly give the best option:",
    "yes_no": "\nPlease answer yes or no:",
    "caption_matching": "\nPlease directly give the best option:",
    "captioning": "",
}
FORMS = {
    "multi-choice": "the best option with its letter",
    "yes_no": "yes or no",
    "caption_matching": "the best option, in full and as it stands above",
    "captioning": "the description",
}
CAPTION_RUBRIC = (
    "The response describes a video that is not shown. Choose an option by this description alone. It is correct when"
    " that choice is the reference, and not when the description says too little to choose."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One question before it is known which of the four kinds it is."""

    row: Row
    video: str
    aspect: str | None
    fields: Mapping[str, Any]


def grade(item: EvalItem, response: str) -> Grade:
    """By the rules of the item's kind; None where they decide nothing."""
    text = response.replace("</s>", "").strip()
    (kind,) = item.labels["kind"]
    if not text:
        return WRONG
    if kind == "captioning":
        return Grade(score=None, parsed=text)
    right = {"multi-choice": match_option, "yes_no": match_word, "caption_matching": match_caption}[kind]
    found = right(text, str(item.fields["question"]), str(item.fields["answer"]))
    return Grade(score=None if found is None else float(found), parsed=text)


def match_option(text: str, question: str, answer: str) -> bool | None:
    """The answer itself, a letter alone, or "A." and "A)" at the start, whatever follows."""
    if text == answer:
        return True
    is_label = text in ("A", "B", "C", "D") or (text[:1] in ("A", "B", "C", "D") and text[1:2] in (".", ")"))
    return text[0] == answer[:1] if is_label else None


def match_word(text: str, question: str, answer: str) -> bool | None:
    """How the text begins: "Not sure" is a no."""
    said = next((word for word in ("yes", "no") if text.lower().startswith(word)), None)
    return None if said is None else said == answer


def match_caption(text: str, question: str, answer: str) -> bool | None:
    """A line of options, its sentence, its name or the end of that, "Option 2" or "2". The last of several counts."""
    lines = [line.split(": ") for line in question.split("\n")[1:] if ": " in line]
    after_bracket = text.split(") ")[1] if ") " in text else None
    said: str | None = None
    for parts in lines:
        said = ": ".join(parts) if text == ": ".join(parts) else said
    for parts in lines:
        said = parts[1] if parts[1] in (text, after_bracket) else said
    for name in [parts[0] for parts in lines] + [parts[0].rpartition(" ")[2] for parts in lines]:
        said = name if name in (text, text.replace(".", "")) else said
    if said is None:
        return None
    name, _, sentence = answer.partition(": ")
    return said in (answer, name, name.rpartition(" ")[2], sentence.split(": ")[0])


def case(item: EvalItem, text: str) -> JudgeCase:
    """The question and its answer; for a caption, the choice that it should allow."""
    if item.labels["kind"] == ("captioning",):
        question, reference = str(item.fields["mc_question"]), str(item.fields["mc_answer"])
        return JudgeCase(question=question, references=(reference,), response=text, rubric=CAPTION_RUBRIC)
    return JudgeCase(question=item.question, references=(str(item.fields["answer"]),), response=text)


def figures(rows: Sequence[Graded]) -> Mapping[str, Number]:
    """The mean of the four kinds, which is not published; every kind, and every aspect of it, which are."""
    kinds = by_label(rows, "kind")
    parts = {kind: micro(kinds[kind]) for kind in KINDS if kind in kinds}
    aspects = {
        f"{kind}/{aspect}": micro(members)
        for kind in parts
        for aspect, members in by_label(kinds[kind], "aspect").items()
    }
    return {"mean of kinds": macro(parts), **parts, **aspects}


def read(path: Path) -> list[EvalItem]:
    """The four parts of the data set on the hub, or the JSON files of the authors: video -> aspect -> questions.

    Rows in the form of EasyVideoR1 are multiple choice, as it has them.
    """
    asked = [question for row in read_annotations(path) for question in _questions(row)]
    choices: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for one in asked:
        if _kind(one) == "multi-choice":
            choices.setdefault((one.video, one.aspect), one.fields)
    return list(unique(_item(one, choices.get((one.video, one.aspect))) for one in asked))


def _questions(row: Row) -> Iterator[_Question]:
    fields = row.fields
    aspects = [aspect for aspect in ASPECTS if isinstance(fields.get(aspect), list)]
    if "solution" in fields:
        lines = [str(first_of(row, "problem")), *map(str, fields.get("options") or ())]
        letter = str(unwrap_truth(fields["solution"]))
        answer = next((line for line in lines[1:] if line.startswith(letter)), letter)
        asked = {"question": "\n".join(lines), "answer": answer}
        yield _Question(row=row, video=str(first_of(row, "path")), aspect=None, fields=asked)
    elif aspects:
        if other := [name for name, held in fields.items() if isinstance(held, list) and name not in ASPECTS]:
            raise DataError(f"{row.where}: {other} are no aspects of TempCompass ({', '.join(ASPECTS)})")
        video = f"videos/{str(fields['key']).removesuffix('.jpg').removesuffix('.mp4')}.mp4"
        for aspect in aspects:
            for asked in fields[aspect]:
                yield _Question(row=row, video=video, aspect=aspect, fields=asked)
    else:
        video = f"videos/{first_of(row, 'video_id')}.mp4"
        yield _Question(row=row, video=video, aspect=str(first_of(row, "dim")), fields=fields)


def _kind(one: _Question) -> str:
    """The kind, by the name of the file or of its folder, else from what question and answer look like."""
    if told := [kind for kind in KINDS if kind in (one.row.fields.get(FILE), one.row.fields.get(FOLDER))]:
        return told[0]
    question, answer = str(one.fields.get("question")), str(one.fields.get("answer"))
    lines = question.split("\n")[1:]
    if "mc_question" in one.fields:
        return "captioning"
    if answer.lower() in ("yes", "no") and answer not in lines:
        return "yes_no"
    if any(line.startswith("A. ") for line in lines):
        return "multi-choice"
    return "caption_matching" if answer in lines else "captioning"


def _item(one: _Question, choice: Mapping[str, Any] | None) -> EvalItem:
    kind, fields = _kind(one), {key: value for key, value in one.fields.items() if key not in ASPECTS}
    if kind == "captioning" and "mc_question" not in fields:
        if choice is None:
            raise DataError(f"{one.row.where}: captions are graded by a question of multi-choice.json; put it beside")
        fields |= {"mc_question": choice["question"], "mc_answer": choice["answer"]}
    asked = Row(where=one.row.where, fields=fields)
    question, answer = str(first_of(asked, "question")), str(first_of(asked, "answer")).strip()
    if kind == "yes_no":
        answer = answer.lower()
    fields |= {"answer": answer}
    options: tuple[str, ...] = ()
    if kind == "multi-choice":
        options = split_options(question)[1]
        if not options:
            raise DataError(f"{one.row.where}: there are no options in the question {question!r:.80}")
    elif kind == "caption_matching":
        options = tuple(question.split("\n")[1:])
    truth = _truth(kind, answer, options, one.row.where)
    if kind == "caption_matching":
        fields |= {"answer": options[ascii_uppercase.index(truth)]}
    return EvalItem(
        id="/".join(part for part in (kind, Path(one.video).stem, one.aspect) if part),
        video=one.video,
        media=(Medium(path=one.video),),
        question=question,
        answer=truth,
        problem_type={"yes_no": "boolean", "captioning": "open-ended"}.get(kind, CHOICE),
        options=options,
        labels={"kind": (kind,), **({"aspect": (one.aspect,)} if one.aspect else {})},
        fields=fields,
    )


def _truth(kind: str, answer: str, options: Iterable[str], where: str) -> str:
    if kind == "multi-choice":
        return letter_answer(answer[:1], tuple(options), where)
    if kind == "yes_no" and answer not in ("yes", "no"):
        raise DataError(f"{where}: the answer {answer!r} is neither yes nor no")
    if kind != "caption_matching":
        return answer
    places = dict(zip(options, ascii_uppercase, strict=False))
    names = {option.partition(": ")[0]: letter for option, letter in places.items()}  # "Caption A", "Option 2"
    found = places.get(answer) or names.get(answer.partition(": ")[0])
    if found is None:
        raise DataError(f"{where}: the answer {answer!r} is none of the options")
    return found


register(
    Benchmark(
        name="tempcompass",
        title="TempCompass",
        source="huggingface.co/datasets/lmms-lab/TempCompass",
        read=read,
        num_items=7540,
        ask=asking(
            lambda item: item.question + ENDINGS[item.labels["kind"][0]],
            lambda item: item.question,
            lambda item: FORMS[item.labels["kind"][0]],
        ),
        official=grade,
        aggregate=figures,
        needs_judge=True,
        judge_case=case,
    )
)
