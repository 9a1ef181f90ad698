# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which option a free response picks. Rewards stay strict; here nothing is trained, so prose may be read too.

The truth is never looked at, nothing is guessed, and what picks several options picks none.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase

from eval.cues import UNDECIDED, cued
from eval.mentions import CONTRAST, MENTION_CHARS, SENTENCE, bracketed, claimed, counted, meant, only_text, placed
from eval.tidying import last_word, tidied, undressed
from eval.verdicts import ENTRY, judged, signed
from verl.scoring.answers import Carrier, read_answer
from verl.scoring.choices import Options
from verl.scoring.text import loose, normalize

TAIL_CHARS = 600  # of a long response, where its conclusion is looked for
ANSWER_KEYS = ("answer", "option", "choice", "final_answer", "final answer")

_HOMOGLYPHS: dict[int, int | str | None] = {
    **str.maketrans(
        "\u0410\u0412\u0415\u041d\u0406\u0408\u0421\u041c\u0391\u0392\u0395\u0396\u0397\u0399\u039c\u039d",
        "ABEHIJCMABEZHIMN",
    ),
    **{start + place: letter for start in (0x1F150, 0x1F170) for place, letter in enumerate(ascii_uppercase)},
    0xFE0F: None,  # makes an emoji of the sign before it
}
_STATED = re.compile(
    r"^\W{0,4}(?:(?:so|thus|therefore|hence)\W{1,2})?(?:the |my )?(?:correct |best |final |right )*"
    r"(?:answer|option|choice)(?: is)?\W{0,4}[:=-]\W{0,4}(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_FINAL = re.compile(r"\W{0,4}(?:the |my )?final answer(?: is\b|\W{0,3}:)", re.IGNORECASE)
_THINK = re.compile(r"</?think>")
_LETTER_ALONE = re.compile(r"\W{0,4}([A-Z])\W{0,4}")
_LED = re.compile(r"\(?([A-Z])\)?, (?:though|although|even though|as(?! well)|given|because|since)\b")
_ALONE_NOT = re.compile(r"(.{1,80}?) (?:and |but )?not (.{1,60})", re.IGNORECASE)
_DISMISSED = re.compile(
    r"\W{0,4}(?:option )?\(?([A-Z])[.):]\s([^.!?\n]{0,120}?\b(?:is|are|was|were|seems?|looks?)"
    r" (?:(?:far |much )?too |wrong\b|incorrect\b|not\b|ruled out\b)[^.!?\n]{0,80})[.!?]\s+",
    re.IGNORECASE,
)
# What the model asks itself when it has answered
_NEXT = re.compile(r"\n\s{0,4}[#*]{0,4}\s?(?:next )?question\b[^\n:]{0,12}:", re.IGNORECASE)
_NAMED = re.compile(r"(\w{1,20}) ([A-Z]|\d): (.+)", re.DOTALL)  # an option with a name


def pick_letter(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that `response` ends up with; None when it picks none or several. Linear time."""
    response, options = _lettered(tidied(response), options)
    known, head = Options.of(options), _NEXT.split(response, maxsplit=1)[0]
    is_answer = head != response and (known.pick(head) or _STATED.search(head))
    return (_pick(head, known) if is_answer else None) or _pick(response, known)


def _pick(response: str, known: Options) -> str | None:
    answer = read_answer(response, bare_chars=TAIL_CHARS)
    if answer.carrier is Carrier.NONE and response.rstrip().endswith("</think>"):
        inner = read_answer(_THINK.sub("", response), bare_chars=0)
        answer = inner if inner.is_clean else answer
    if answer.carrier in (Carrier.TAG, Carrier.OPEN_TAG, Carrier.BOXED) and not answer.text:
        return None
    said = answer.text or _after_thinking(response)
    text = answer.text or said[-TAIL_CHARS:].strip()
    if UNDECIDED.search(text[-TAIL_CHARS:]) and not known.pick(text):
        return None
    final = last_word(text)
    letter = (final and _read(final, known)) or _read(text, known) or claimed(said[:TAIL_CHARS], known)
    return letter or (cued(_after_thinking(response), known) if answer.carrier is Carrier.STATEMENT else None)


def _lettered(response: str, options: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Letters for names: "Caption B", "2" of options "Caption A: ...", "Option 2: ..."; others as they are."""
    named = [found for option in options if (found := _NAMED.fullmatch(option))]
    letters = {found[2]: letter for found, letter in zip(named, ascii_uppercase, strict=False)}
    if len(options) < 2 or len(letters) < len(options) or len({found[1] for found in named}) > 1:
        return response, options
    name = re.compile(rf"\b{named[0][1]} ({'|'.join(letters)})\b", re.IGNORECASE)
    response = letters.get(response.strip(" .()\n"), response)
    return name.sub(lambda found: f"Option {letters[found[1].upper()]}", response), [found[3] for found in named]


def _read(text: str, known: Options) -> str | None:
    """By the first reading that finds a letter, in the text as it stands and in plainer spellings of it."""
    readings: tuple[Callable[[str, Options], str | None], ...] = (
        lambda text, known: known.pick(text),
        _json,
        _contrasted,
        judged,
        signed,
        _stated,
        _last_line,
        cued,
        _first_line,
        _after_colon,
        _concluded,
        meant,
    )
    text = _undismissed(text, known)
    plain = normalize(text).translate(_HOMOGLYPHS)
    for candidate in dict.fromkeys((text, plain, undressed(plain))):
        for read in readings:
            if letter := read(candidate, known):
                return letter
    return None


def _undismissed(text: str, known: Options) -> str:
    """`text` without the options at its start that are called wrong, one sentence each."""
    rest = text
    for _ in known.texts:
        found = _DISMISSED.match(rest if rest == text else f"{rest} ")  # alone, it may be an answer
        if found is None or loose(found[2]) == loose(known.texts.get(found[1].upper(), "")):
            break
        rest = rest[found.end() :]
    return rest


def _after_thinking(response: str) -> str:
    """A long response without tags, after its reasoning; while it still thinks, a last line "Final answer: ..."."""
    _, closed, rest = response.rpartition("</think>")
    if closed or "<think>" not in rest:
        return rest.strip()
    last = rest.strip().rpartition("\n")[2]
    return last if _FINAL.match(last) else ""


def _json(text: str, known: Options) -> str | None:
    found = re.fullmatch(r"(?:```(?:json)?\s*)?(\{[^{}]*\}|\[[^\[\]]*\])(?:\s*```)?", text.strip())
    if found is None:
        return None
    try:
        row = ast.literal_eval(found[1]) if "'" in found[1] and '"' not in found[1] else json.loads(found[1])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    answers = row
    if isinstance(row, dict) and set(row) == set(known.texts) and all(value in (0, 1) for value in row.values()):
        answers = [letter for letter, value in row.items() if value == 1]  # a table of ones and zeros, or of truths
    elif isinstance(row, dict):
        answers = [value for key, value in row.items() if str(key).casefold() in ANSWER_KEYS]
    return known.pick(str(answers[0])) if len(answers) == 1 else None


def _contrasted(text: str, known: Options) -> str | None:
    """What comes before "not B", "rather than B"."""
    if len(text) > MENTION_CHARS:
        return None
    if (sides := _ALONE_NOT.fullmatch(text)) and known.pick(sides[2]):
        return known.pick(sides[1])
    head = CONTRAST.split(text, maxsplit=1)[0]
    return known.pick(head) if head != text else None


def _first_line(text: str, known: Options) -> str | None:
    """The first line, where an empty one or an explanation follows it."""
    first, _, rest = text.strip().partition("\n")
    following = rest.strip().partition("\n")[0]
    is_list = ENTRY.match(following) or _LETTER_ALONE.fullmatch(following)
    return known.pick(first) if following and not is_list else None


def _last_line(text: str, known: Options) -> str | None:
    """The last line, unless it is only the end of a list of options."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2 or _ends_list(lines, known):
        return None
    return known.pick(lines[-1]) or known.pick(undressed(lines[-1]))


def _ends_list(lines: Sequence[str], known: Options) -> bool:
    """Whether the last two lines are an option and the next one, two options word for word, or letters in order."""
    for pattern in (ENTRY, _LETTER_ALONE):
        entries = [found for line in lines[-2:] if (found := pattern.fullmatch(line))]
        letters = [found[1] for found in entries]
        if len(letters) == 2 and ord(letters[0]) + 1 == ord(letters[1]):
            return True
        if len(set(letters)) == 2 and all(_is_echo(found, known) for found in entries):
            return True
    return False


def _is_echo(entry: re.Match[str], known: Options) -> bool:
    return entry.re is ENTRY and loose(entry[2]) == loose(known.texts.get(entry[1], ""))


def _stated(text: str, known: Options) -> str | None:
    """The last line of the form "Answer: ..."."""
    lines = _STATED.findall(text)
    return known.pick(lines[-1]) if lines else None


def _after_colon(text: str, known: Options) -> str | None:
    _, colon, tail = text.rpartition(":")
    return known.pick(tail) if colon else None


def _concluded(text: str, known: Options) -> str | None:
    """The one option that the last sentence names."""
    sentences = [part for part in SENTENCE.split(text.strip()) if part.strip()]
    if not sentences or _ends_list(sentences, known):
        return None
    led = _LED.match(sentences[-1])
    if led and led[1] in known.texts:
        return led[1]
    readings = (bracketed, only_text, placed, counted)
    return next((letter for read in readings if (letter := read(sentences[-1], known))), None)
