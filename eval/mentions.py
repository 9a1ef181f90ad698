# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Options that are named by what they say, by their place or by their number."""

from __future__ import annotations

import re
from collections.abc import Iterable

from eval.cues import NEGATION
from verl.scoring.choices import Options
from verl.scoring.numbers import read_number
from verl.scoring.text import loose

MENTION_CHARS = 300  # longest sentence in which the text of an option is looked for
SENTENCE = re.compile(
    r"(?:(?<=[.!?\u3002])(?:(?<!\b[A-Z]\.)|(?=\s+(?:That|This|It|So|He|She|They|We|Because|Since|There|Thus|Hence)\b))"
    r"|(?<=[.!?][\"\u201d]))\s+|\n+"
)
CONTRAST = re.compile(
    r"\s*[,;(]\s*(?:(?:and |but )?not|(?:and|but) no)\b|\s+(?:rather than|instead of|as opposed to)\b", re.IGNORECASE
)
_NOT_BUT = re.compile(r"\bnot\b[^.;]{1,80}\bbut\b", re.IGNORECASE)
_SO = re.compile(
    r"(?:[,;-]\s(?:and )?so(?! that)|[,\s](?:thus|therefore|hence|namely|known as|and that is"
    r"|(?:which makes|making) (?:it|this|that|him|her|them)))\b",
    re.IGNORECASE,
)
_UNSURE = re.compile(r"\b(?:unclear|unsure|unable|doubt\w*|exclud\w+|rul(?:e|es|ed|ing) out)\b", re.IGNORECASE)
_EVIDENCE = re.compile(
    r"(?:this|which|it) (?:is|was|can be|could be|conclusion is) (?:clear(?:ly)?|evident|evidenced|indicated|observed"
    r"|shown|seen|inferred|determined|supported|suggested|based|because|due|likely due)\b",
    re.IGNORECASE,
)
_PLACES = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_PLACE = re.compile(
    rf"(?<!his )(?<!her )(?<!their )(?<!-)(?<!to )\b({'|'.join(_PLACES)}|last)"
    r" (?:option|choice|answer|one (?:in|on|of) the list)\b(?! (?:he|she|they|the)\b)",
    re.IGNORECASE,
)
_REJECTED = re.compile(
    r"\b(?:exclud\w+|eliminat\w+|rul(?:e|es|ed|ing) out|ruled|unlikely|impossible|compared|but the)\b", re.IGNORECASE
)
_NUMBER = re.compile(r"\b(?:option|choice)(?: number| no\.?)? ?#?(\d{1,2})\b(?![.:]?\d|%)", re.IGNORECASE)
_NO_COUNT = re.compile(  # ordinals, and "one" as a pronoun
    r"\d(?:st|nd|rd|th)\b|\b(?:the|this|that|which|each|every|any|another|other) one\b"
    r"|\bone (?:can|could|may|might|must|sees|who|that)\b",
    re.IGNORECASE,
)
_MEASURE = re.compile(
    r"\d ?(?:[kcm]?m\b|k?g\b|s\b|h\b|met[er]|kilo|centi|milli|miles?\b|feet|foot|ft\b|inch|sec|min|hour|day|year)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"\d[ -]?([a-z])", re.IGNORECASE)
_NO_ALONE = re.compile(r"\bno\b(?!['-]?\s?\w)", re.IGNORECASE)  # an answer, not "no man"
_IN_BRACKETS = re.compile(r"\(([A-Za-z])\)")
MIN_BEGINNING = 4  # letters of an answer that only begins as an option does
MIN_WORD = 6  # letters of a word that may be misspelt


def claimed(text: str, known: Options) -> str | None:
    """The option that the first sentence names, where the second begins to say why."""
    sentences = [part for part in SENTENCE.split(text.strip(), maxsplit=2) if part.strip()]
    is_backed = len(sentences) > 1 and _EVIDENCE.match(sentences[1])
    return only_text(sentences[0], known) if is_backed else None


def only_text(sentence: str, known: Options) -> str | None:
    """The one option whose text stands in `sentence`, word for word, or in what it concludes."""
    sentence = _NOT_BUT.sub("", CONTRAST.split(sentence, maxsplit=1)[0])
    if not sentence or len(sentence) > MENTION_CHARS or _UNSURE.search(sentence):
        return None
    before, _, last = sentence.rpartition(";")
    concluded = last if NEGATION.search(before) else _SO.split(sentence)[-1]
    return named(sentence, known) or named(concluded, known)


def named(phrase: str, known: Options) -> str | None:
    """The one option whose text stands in `phrase`, word for word, and is not denied."""
    words = f" {loose(phrase)} "
    spelled = {letter: f" {loose(option)} " for letter, option in known.texts.items() if loose(option)}
    found = {letter: option for letter, option in spelled.items() if option in words}
    longest = [x for x, option in found.items() if not any(option in other for y, other in found.items() if y != x)]
    if len(longest) != 1 or (spelled[longest[0]] == " no " and not _NO_ALONE.search(phrase)):
        return None
    denials = (len(NEGATION.findall(part)) for part in (phrase, known.texts[longest[0]]))
    return longest[0] if next(denials) == next(denials) else None


def placed(sentence: str, known: Options) -> str | None:
    """The option at the one place that is named: "the third option", "option 3"."""
    places = {_PLACES.index(word) if word != "last" else -1 for word in map(str.lower, _PLACE.findall(sentence))}
    if not any(map(read_number, known.texts.values())):
        places |= {int(number) - 1 for number in _NUMBER.findall(sentence)}
    is_denied = NEGATION.search(sentence) or _REJECTED.search(sentence)
    place = places.pop() if len(places) == 1 and not is_denied else len(known.texts)
    return list(known.texts)[place] if place < len(known.texts) else None


def counted(sentence: str, known: Options) -> str | None:
    """Where all options are numbers: the one with the only number in `sentence`, or behind its last "="."""
    values = {letter: read_number(text) for letter, text in known.texts.items()}
    number = read_number(sentence.rpartition("=")[2].strip(" $"))
    if number is None or not all(values.values()) or NEGATION.search(sentence) or _NO_COUNT.search(sentence):
        return None
    if all(map(_MEASURE.search, known.texts.values())) and _units([sentence]) - _units(known.texts.values()):
        return None
    equal = [letter for letter, value in values.items() if value and value.value == number.value]
    return equal[0] if len(equal) == 1 else None


def _units(texts: Iterable[str]) -> set[str]:
    """The first letters of the words right behind numbers: "3 m" and "3 metres" are one unit."""
    return {letter.casefold() for text in texts for letter in _UNIT.findall(text)}


def bracketed(sentence: str, known: Options) -> str | None:
    """The only letter in brackets, at the end: "the green one (C)"."""
    sentence = _NOT_BUT.sub("", sentence)
    found = list(_IN_BRACKETS.finditer(sentence))
    is_last = len(found) == 1 and not sentence[found[0].end() :].strip(" .!\u3002")
    letter = found[0][1].upper() if is_last and not NEGATION.search(sentence) else ""
    return letter if letter in known.texts else None


def meant(answer: str, known: Options) -> str | None:
    """The one option that begins like `answer`, or differs from it by a letter in the middle or at the end."""
    spelled, answer = {letter: loose(text) for letter, text in known.texts.items()}, loose(answer)
    near = [letter for letter, text in spelled.items() if text.startswith(f"{answer} ") or _is_slip(answer, text)]
    return near[0] if len(near) == 1 and len(answer) >= MIN_BEGINNING else None


def _is_slip(word: str, wanted: str) -> bool:
    """Whether two words that begin alike are one letter apart."""
    short, long = sorted((word, wanted), key=len)
    if not long.isalpha() or len(short) < MIN_WORD or short[0] != long[0]:
        return False
    if len(short) == len(long):
        return sum(one != other for one, other in zip(short, long, strict=True)) == 1
    return any(long[:place] + long[place + 1 :] == short for place in range(1, len(long)))
