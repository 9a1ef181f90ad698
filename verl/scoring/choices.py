# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which option was picked: one grammar over the whole answer; articles, hedges and negations pick nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from verl.scoring.text import loose, normalize, unwrap

MAX_CHARS = 2_000
MAX_PREFIXES = 3  # "I choose" "option" B
DEFAULT_LETTERS = ascii_uppercase[:14]  # for questions whose options are only in the prompt

_LABEL = re.compile(r"\(?\s?([A-Za-z])\s?[.):\u3001](?:\s+|$)")
_TIGHT_LABEL = re.compile(r"\(?([A-Za-z])[.):\u3001]\s*")
_PREFIX = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:i (?:think|believe) (?:that )?)?"
    r"(?:(?:the|my) )?(?:best |correct |right |final |most likely )*(?:answer|option|choice|letter|ans)\b"
    r"(?: (?:is|must be|would be|should be)\b)?(?: ?[:=]| -)? ?"
    r"|(?:so )?(?:i|we) (?:would |will )?(?:choose|pick|select|go with) "
    r"|(?:so )?it(?:'s| is) "
    # Chinese: (so) (correct, final) answer or option (is); (so) (I, should) choose
    "|(?:\u6545|\u6240\u4ee5|\u56e0\u6b64)?,? ?"
    "(?:(?:\u6b63\u786e|\u6700\u7ec8)?(?:\u7b54\u6848|\u9009\u9879)[\u662f\u4e3a]?"
    "|(?:\u6211|\u5e94\u8be5?)?\u9009(?:\u62e9)?) ?:? ?",
    re.IGNORECASE,
)
_LONE = re.compile(r"[(\[{<]?\s?([A-Za-z])\s?[)\]}>]?")
_VERDICT = re.compile(
    r"\(?([A-Za-z])\)? is (?:(?:the )?(?:correct|right|best)(?: (?:answer|option|choice|one))?|the (?:answer|one))"
)
_EMPHASIS = re.compile(r"\*+|`+|(?<!\w)_+|_+(?!\w)")
_BULLET = re.compile(r"^\s*[-*\u2022] +", re.MULTILINE)
_LETTER_ALONE = re.compile(r"(?<![\w'])(?:A(?! [a-z])|[B-HJ-Z])(?![\w'])")  # no article, no pronoun
_TOGETHER = re.compile(r"(?:both )?(.*) are (?:all |both )?(?:correct|right|true)|both (.*)", re.IGNORECASE)
_REASON = re.compile(r"\(?([A-Z])\)?,? (?:because|since)\b.*")
_LABELLED = re.compile(r"[(\[]?([A-Za-z])(?:[.):\]\u3001]| -) *(.*)")
_IN_BRACKETS = re.compile(r"([A-Za-z]) ?\((.*)\)")
_BEFORE_TEXT = re.compile(r"\(?([A-Za-z])\)?,? (.*)")
_AFTER_TEXT = re.compile(r"(.*) \((?:(?:option|answer|choice) )?([A-Za-z])\)", re.IGNORECASE)
_NEGATION = re.compile(r"(?:is |are |was )?(?:not|never|incorrect|wrong|false)\b|isn't\b", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s,;/|&+.:()\[\]]+|\b(?:or|and|maybe|perhaps)\b", re.IGNORECASE)
_JOIN = re.compile(r"(?:or|and)\b|[/|&,;]", re.IGNORECASE)
_PREFIX_OF_SEVERAL = re.compile(
    r"(?:the )?(?:correct |right |final )*(?:answers|options|choices|answer|option)(?: are| is)?(?: ?[:=])? "
    "|(?:\u7b54\u6848|\u9009\u9879)[\u662f\u4e3a]? ?:? ?|\u9009(?:\u62e9)? ?:? ?",  # Chinese, as above
    re.IGNORECASE,
)
_RUN = re.compile(r"[A-Z]{2,26}")
_BEFORE_LABEL = re.compile(r"(?<![\w'])(?=[(\[]?[A-Z][.):\]]\s\S)")
_BETWEEN = re.compile(r"\s*(?:[,;/&+\u3001]|\band\b)\s*|\s(?=[A-Z]\b)", re.IGNORECASE)
_ENDS = re.compile(r"[\s,;]*(?:\band)?[\s,;]*$", re.IGNORECASE)
_LATER_LABEL = re.compile(r"(?<![\w'])[(\[]?([A-Z])(?:[.):\]]| -)\s\S")


@dataclass(frozen=True, slots=True)
class Options:
    """Letters and, where the question carries its options, their texts."""

    texts: Mapping[str, str]  # empty text: only the letter is known

    @classmethod
    def of(cls, options: Sequence[str]) -> Options:
        """Read "A. text", "A: text", "(A) text" or bare texts; no options at all allow the letters A to N."""
        if not options:
            return cls(dict.fromkeys(DEFAULT_LETTERS, ""))
        for pattern in (_LABEL, _TIGHT_LABEL):
            labels = [pattern.match(option.strip()) for option in options]
            texts = {m[1].upper(): m.string[m.end() :].strip() for m in labels if m}
            if sorted(texts) == list(ascii_uppercase[: len(options)]):
                return cls(texts)
        return cls(dict(zip(ascii_uppercase, options, strict=False)))

    def pick(self, answer: str) -> str | None:
        """The letter `answer` picks; None when it is outside the grammar or picks none or several."""
        text = normalize(_letter_first(unwrap(answer))) if len(answer) <= MAX_CHARS else ""
        if not 0 < len(text) <= MAX_CHARS:
            return None
        for _ in range(MAX_PREFIXES):
            bare = unwrap(text)
            letter = self._read(bare) or self._read(_EMPHASIS.sub("", bare).strip())
            prefix = _PREFIX.match(text)
            if letter or prefix is None:
                return letter
            text = text[prefix.end() :]
        return None

    def pick_all(self, answer: str) -> frozenset[str] | None:
        """The letters of a list: "A,C", "AC", "A and C", ["A", "C"], labelled or bare texts; None for anything else.

        A letter that is no option, or that occurs twice, spoils the list.
        """
        if letter := self.pick(answer):
            return frozenset(letter)
        lines = _BULLET.sub("", answer).splitlines() if len(answer) <= MAX_CHARS else []
        text = normalize(unwrap(";".join(line for line in lines if line.strip())))
        text = text.rstrip(".!\u3002 ")
        text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        text = _PREFIX_OF_SEVERAL.sub("", text, count=1) if _PREFIX_OF_SEVERAL.match(text) else text
        if together := _TOGETHER.fullmatch(text):
            text = together[1] or together[2]
        for parts in (list(text) if _RUN.fullmatch(text) else [], _labelled_parts(text), _BETWEEN.split(text)):
            letters = [self.pick(part) for part in parts[: len(self.texts) + 1] if part]
            found = frozenset(letter for letter in letters if letter)
            if 0 < len(found) == len(letters):
                return found
        return None

    def _read(self, text: str) -> str | None:
        if lone := _LONE.fullmatch(text.rstrip(".,:;!\u3002 ")):
            return self._known(lone[1])
        for read in (self._spelled, self._labelled, self._named, self._verdict, self._beside_text):
            if letters := read(text):
                return letters if len(letters) == 1 else None
        return None

    def _known(self, letter: str) -> str | None:
        return letter.upper() if letter.upper() in self.texts else None

    def _spelled(self, text: str) -> str:
        """Letters of the options with this very text."""
        return self._matching(text, _plain)

    def _named(self, text: str) -> str:
        """Letters of the options with these words."""
        return self._matching(text, loose)

    def _matching(self, text: str, spell: Callable[[str], str]) -> str:
        spelled = spell(text)
        return "".join(x for x, option in self.texts.items() if option and spell(option) == spelled)

    def _is_text_of(self, letter: str, text: str) -> bool:
        return letter in (self._spelled(text) or self._named(text))

    def _verdict(self, text: str) -> str | None:
        found = _VERDICT.fullmatch(text.rstrip(".! ")) or _REASON.fullmatch(text)
        return self._known(found[1]) if found else None

    def _labelled(self, text: str) -> str | None:
        """A letter set off from what follows: the letter counts, unless what follows takes it back."""
        found = _LABELLED.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
        letter = self._known(found[1]) if found else None
        if not found or letter is None:
            return None
        tail = found[2].strip()
        if self._is_text_of(letter, tail):
            return letter
        is_abbreviation = text[1:2] == "." and text[2:3] not in (" ", "")
        return None if is_abbreviation or self._takes_back(letter, tail) else letter

    def _takes_back(self, letter: str, tail: str) -> bool:
        if _NEGATION.match(tail) or _JOIN.match(tail):
            return True
        others = [word for word in _SEPARATOR.split(tail) if word]
        if others and all(len(word) == 1 and self._known(word) for word in others):
            return True
        return any(self._known(m[1]) not in (None, letter) for m in _LATER_LABEL.finditer(tail))

    def _beside_text(self, text: str) -> str | None:
        """A letter with nothing between it and the text of the very option: "B red car", "red car (B)"."""
        patterns: tuple[tuple[re.Pattern[str], int, int], ...] = ((_BEFORE_TEXT, 1, 2), (_AFTER_TEXT, 2, 1))
        for pattern, letter_at, text_at in patterns:
            found = pattern.fullmatch(text.rstrip(".! "))
            letter = self._known(found[letter_at]) if found else None
            if found and letter and self._is_text_of(letter, found[text_at]):
                return letter
        return None


def _letter_first(text: str) -> str:
    """A letter alone on the first line is the label of what the next lines say."""
    first, _, rest = text.partition("\n")
    lone = _LONE.fullmatch(unwrap(first.strip()).rstrip(".,:;! ")) if rest.strip() else None
    is_label = lone is not None and all(other[0] == lone[1] for other in _LETTER_ALONE.finditer(rest))
    return f"{lone[1]}. {rest}" if lone and is_label else text


def _plain(text: str) -> str:
    return normalize(text).casefold().rstrip(".!\u3002 ")


def _labelled_parts(text: str) -> list[str]:
    """`text` cut before each label such as "B. "; empty with fewer than two of them."""
    parts = [_ENDS.sub("", part) for part in _BEFORE_LABEL.split(text)]
    return [part for part in parts if part] if len(parts) > 2 else []
