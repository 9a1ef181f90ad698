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

from eval.tidying import last_word, tidied, undressed
from verl.scoring.answers import Carrier, read_answer
from verl.scoring.choices import Options
from verl.scoring.text import loose, normalize

TAIL_CHARS = 600  # of a long response, where its conclusion is looked for
ANSWER_KEYS = ("answer", "option", "choice", "final_answer", "final answer")
MENTION_CHARS = 300  # longest sentence in which the text of an option is looked for

_HOMOGLYPHS = str.maketrans(
    "\u0410\u0412\u0415\u041d\u0406\u0408\u0421\u041c\u0391\u0392\u0395\u0396\u0397\u0399\u039c\u039d",
    "ABEHIJCMABEZHIMN",
)
_SENTENCE = re.compile(r"(?:(?<=[.!?\u3002])(?<!\b[A-Z]\.)|(?<=[.!?][\"\u201d]))\s+|\n+")
_CUES = (
    re.compile(
        r"\b(?i:answer|letter|option|choice|choose|pick|select|(?:go|going|stick|settle) with|think|believe|guess|say"
        r"|is|be|it's|that's|so|thus|hence"
        r"|therefore|but|likely|leaves|leaving)\b[\s:,*\"'(\[]{1,4}([A-Z])\b(?![\w'-])"
    ),
    # Chinese: answer or option (is), choose, but is; is, at the end
    re.compile("(?:\u7b54\u6848|\u9009\u9879|\u9009|\u800c\u662f)\\)?[\u662f\u4e3a:]?\\s?\\(?([A-Z])(?![A-Za-z])"),
    re.compile("(?<!\u4e0d)[\u662f\u4e3a]\\s?\\(?([A-Z])\\)?[\u3002.!]?\\s?$"),
    # Chinese: (option) X is right; Japanese: X is right, it is X; Korean: it is X
    re.compile(
        "(?<![A-Za-z])([A-Z])\\)?(?:\u9009\u9879)?(?:\u624d?\u662f|[\u304c\u306f])?"
        "(?:\u6b63\u786e|\u5bf9\u7684|\u6b63\u89e3|\u6b63\u3057\u3044|\u3067\u3059|\uc785\ub2c8\ub2e4)"
    ),
    # Japanese: answer, right answer, solution, option; Korean: (right) answer
    re.compile(
        "(?:\u7b54\u3048|\u6b63\u89e3|\u89e3\u7b54|\u9078\u629e\u80a2)\\)?[\u306f\u304c:]?\\s?\\(?([A-Z])(?![A-Za-z])"
        "|(?:\uc815\ub2f5|\ub2f5)\uc740?:?\\s?\\(?([A-Z])(?![A-Za-z])"
    ),
    # Arabic: the (right) answer (is)
    re.compile(
        "\u0627\u0644(?:\u0625\u062c\u0627\u0628\u0629|\u0627\u062c\u0627\u0628\u0629|\u062c\u0648\u0627\u0628)"
        "(?: \u0627\u0644\u0635\u062d\u064a\u062d\u0629?)?(?: \u0647[\u064a\u0648])?\\s?:?\\s?\\(?([A-Z])(?![A-Za-z])"
    ),
    # Spanish, Portuguese, Italian, French, German: (right, final) answer is (the option)
    re.compile(
        r"\b(?i:respuesta|resposta|risposta|r[e\u00e9]ponse|antwort|l\u00f6sung)(?: (?:correct[ae]|corret[at]a?|giusta"
        r"|finale?|es|\u00e9|\u00e8|est|ist|la|a|die|opci\u00f3n|op\u00e7\u00e3o|opzione|option)){0,5}\s?:?\s?\(?([A-Z])"
        r"(?=\s?(?:[.,;:)\]!]|$))"
    ),
)
_PRAISED = re.compile(
    r"(?<![\w'])\(?([A-Z])(?:[.):](?:(?!\b[A-Z]\b)[^.;\n]){0,80})?\)?\s+(?:is\s+(?:the\s+)?(?:correct|right|best|answer"
    r"|(?:more|most) (?:accurate|likely|plausible|suitable|appropriate))"
    r"|(?:fits|matches)(?: \w+){0,3} (?:best|better)|best (?:fits|matches|describes))\b"
)
_STATED = re.compile(
    r"^\W{0,4}(?:(?:so|thus|therefore|hence)\W{1,2})?(?:the |my )?(?:correct |best |final |right )*"
    r"(?:answer|option|choice)(?: is)?\W{0,4}[:=-]\W{0,4}(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_PRONOUN = re.compile(r"\s+(?:think|believe|guess|would|will|am|can|cannot|could|do|don't|have|see|choose|pick)\b")
_ARTICLE = re.compile(  # "A" before a noun
    r" (?!(?:is|was|as|and|or|because|since|which|that|for|in|from|on|at|based|then|but|would|seems|over|to)\b)"
    r"[a-z]{2,}"
)
_LABEL = re.compile(r"\b(?:option|choice|letter) $", re.IGNORECASE)  # what follows is no article
_HEDGED = re.compile(r"\)?\s*(?:or|and|/|,|&)\s*(?:option\s+)?\(?[A-Z]\b(?!\w)", re.IGNORECASE)
_DENIED = re.compile(
    r"\)?\s*(?:is|was|are|does|did)?\s*(?:not|n't|never|cannot|can't|incorrect|wrong|false|ruled out)\b"
    # Chinese: (is) wrong, not right; Japanese: is wrong, is not; Korean: is not, is wrong
    "|\\)?\\s?(?:\u662f?\u9519|\u4e0d(?:\u5bf9|\u6b63\u786e|\u662f)|[\u306f\u304c]?(?:\u9593\u9055|\u8aa4|\u9055)"
    "|\u3067\u306f(?:\u306a\u3044|\u3042\u308a\u307e\u305b\u3093)|(?:\uc774|\uac00)\\s?\uc544|[\uc740\ub294]\\s?\ud2c0)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.;,]|\bbut\b")
_NEGATION = re.compile(r"\b(?:not|never|neither|nor|no|cannot|except|incorrect|wrong)\b|n't\b", re.IGNORECASE)
_CONTRAST = re.compile(r"\s*[,;(]\s*(?:and |but )?not\b|\s+(?:rather than|instead of|as opposed to)\b", re.IGNORECASE)
_NOT_BUT = re.compile(r"\bnot\b[^.;]{1,80}\bbut\b", re.IGNORECASE)
_ENTRY = re.compile(r"\W{0,4}(?:option )?\(?([A-Z])(?:\)|\.|:|\s-|\s\(|\))(.*)")  # of a list of options
_BEFORE_ENTRY = re.compile(r"\s(?=\([A-Z]\)\s)")
_LETTER_ALONE = re.compile(r"\W{0,4}([A-Z])\W{0,4}")
_NAMED = re.compile(r"(\w{1,20}) ([A-Z]|\d): (.+)", re.DOTALL)  # an option with a name
_EVIDENCE = re.compile(
    r"(?:this|which|it) (?:is|was|can be|could be|conclusion is) (?:clear(?:ly)?|evident|evidenced|indicated|observed"
    r"|shown|seen|inferred|determined|supported|suggested|based|because|due|likely due)\b",
    re.IGNORECASE,
)
_RIGHT = re.compile("\\b(?:correct|right|true|yes)\\b|[\u2713\u2714\u2705]", re.IGNORECASE)
_WRONG = re.compile("\\b(?:incorrect|wrong|false|no|not|never)\\b|n't\\b|[\u2717\u2718\u274c\u2716]", re.IGNORECASE)


def pick_letter(response: str, options: Sequence[str]) -> str | None:
    """The letter of the option that `response` ends up with; None when it picks none or several. Linear time."""
    response, options = _lettered(tidied(response), options)
    answer = read_answer(response, bare_chars=TAIL_CHARS)
    known = Options.of(options)
    said = answer.text or _after_thinking(response)
    text = answer.text or said[-TAIL_CHARS:].strip()
    if answer.carrier in (Carrier.TAG, Carrier.OPEN_TAG, Carrier.BOXED) and not answer.text:
        return None
    final = last_word(text)
    return (final and _read(final, known)) or _read(text, known) or _claimed(said[:TAIL_CHARS], known)


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
        _judged,
        _stated,
        _last_line,
        _cued,
        _first_line,
        _after_colon,
        _mentioned,
    )
    plain = normalize(text).translate(_HOMOGLYPHS)
    for candidate in dict.fromkeys((text, plain, undressed(plain))):
        for read in readings:
            if letter := read(candidate, known):
                return letter
    return None


def _after_thinking(response: str) -> str:
    """A long response without tags, after its reasoning; empty while it is still thinking."""
    thought, closed, rest = response.rpartition("</think>")
    return "" if not closed and "<think>" in thought + rest else rest.strip()


def _json(text: str, known: Options) -> str | None:
    found = re.fullmatch(r"(?:```(?:json)?\s*)?(\{[^{}]*\}|\[[^\[\]]*\])(?:\s*```)?", text.strip())
    if found is None:
        return None
    try:
        row = ast.literal_eval(found[1]) if "'" in found[1] and '"' not in found[1] else json.loads(found[1])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    answers = row
    if isinstance(row, dict):
        answers = [value for key, value in row.items() if str(key).casefold() in ANSWER_KEYS]
    return known.pick(str(answers[0])) if len(answers) == 1 else None


def _contrasted(text: str, known: Options) -> str | None:
    """What comes before "not B", "rather than B"."""
    head = _CONTRAST.split(text, maxsplit=1)[0] if len(text) <= MENTION_CHARS else text
    return known.pick(head) if head != text else None


def _judged(text: str, known: Options) -> str | None:
    """Where each line judges an option: the one that is called right, if all others are called wrong."""
    lines = [part for line in text.splitlines() for part in _BEFORE_ENTRY.split(line)]
    entries = [found for line in lines if (found := _ENTRY.match(line)) and found[1] in known.texts]
    wrong = [found[1] for found in entries if _WRONG.search(found[2])]
    right = [found[1] for found in entries if found[1] not in wrong and _RIGHT.search(found[2])]
    is_whole = len(entries) == len(wrong) + len(right) == len({found[1] for found in entries})
    return right[0] if is_whole and len(right) == 1 and wrong else None


def _first_line(text: str, known: Options) -> str | None:
    """The first line, where an empty one or an explanation follows it."""
    first, _, rest = text.strip().partition("\n")
    following = rest.strip().partition("\n")[0]
    is_list = _ENTRY.match(following) or _LETTER_ALONE.fullmatch(following)
    return known.pick(first) if following and not is_list else None


def _last_line(text: str, known: Options) -> str | None:
    """The last line, unless it is only the end of a list of options."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return known.pick(lines[-1]) if len(lines) > 1 and not _ends_list(lines, known) else None


def _ends_list(lines: Sequence[str], known: Options) -> bool:
    """Whether the last two lines are an option and the next one, two options word for word, or letters in order."""
    for pattern in (_ENTRY, _LETTER_ALONE):
        entries = [found for line in lines[-2:] if (found := pattern.fullmatch(line))]
        letters = [found[1] for found in entries]
        if len(letters) == 2 and ord(letters[0]) + 1 == ord(letters[1]):
            return True
        if len(set(letters)) == 2 and all(_is_echo(found, known) for found in entries):
            return True
    return False


def _is_echo(entry: re.Match[str], known: Options) -> bool:
    return entry.re is _ENTRY and loose(entry[2]) == loose(known.texts.get(entry[1], ""))


def _stated(text: str, known: Options) -> str | None:
    """The last line of the form "Answer: ..."."""
    lines = _STATED.findall(text)
    return known.pick(lines[-1]) if lines else None


def _cued(text: str, known: Options) -> str | None:
    """The last letter that words such as "the answer is" lead to, or that is called correct."""
    cues = [found for pattern in (*_CUES, _PRAISED) for found in pattern.finditer(text)]
    for cue in sorted(cues, key=lambda cue: cue.end(), reverse=True):
        letter = cue[cue.lastindex or 1]
        at = cue.start(cue.lastindex or 1)
        before, after = text[max(cue.start() - 24, 0) : at], text[at + 1 :]
        if letter not in known.texts or _PRONOUN.match(after) or _DENIED.match(after):
            continue
        if letter == "A" and _ARTICLE.match(after) and not _LABEL.search(before):
            continue
        if _HEDGED.match(after):
            return None
        if not _NEGATION.search(_CLAUSE.split(before)[-1]):
            return letter
    return None


def _after_colon(text: str, known: Options) -> str | None:
    _, colon, tail = text.rpartition(":")
    return known.pick(tail) if colon else None


def _mentioned(text: str, known: Options) -> str | None:
    """The one option whose text stands in the last sentence, word for word."""
    sentences = [part for part in _SENTENCE.split(text.strip()) if part.strip()]
    return None if not sentences or _ends_list(sentences, known) else _only_text(sentences[-1], known)


def _claimed(text: str, known: Options) -> str | None:
    """The same of the first sentence, where the second begins to say why."""
    sentences = [part for part in _SENTENCE.split(text.strip(), maxsplit=2) if part.strip()]
    is_backed = len(sentences) > 1 and _EVIDENCE.match(sentences[1])
    return _only_text(sentences[0], known) if is_backed else None


def _only_text(sentence: str, known: Options) -> str | None:
    sentence = _NOT_BUT.sub("", _CONTRAST.split(sentence, maxsplit=1)[0])
    if not sentence or len(sentence) > MENTION_CHARS or _NEGATION.search(sentence):
        return None
    words = f" {loose(sentence)} "
    spelled = {letter: f" {loose(option)} " for letter, option in known.texts.items() if loose(option)}
    found = {letter: option for letter, option in spelled.items() if option in words}
    longest = [x for x, option in found.items() if not any(option in other for y, other in found.items() if y != x)]
    return longest[0] if len(longest) == 1 else None
