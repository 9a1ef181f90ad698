# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a formula or number equals the truth: as text, as an exact number, or by computer algebra in a process that
can be killed.
"""

from __future__ import annotations

import re
from functools import cache

from verl.scoring.confined.process import Confined, Failure, Limits
from verl.scoring.numbers import is_equal, read_number
from verl.scoring.text import loose, normalize, unwrap

MAX_CHARS = 1_000
MAX_DIGITS = 40
MEMORY_MIB = 4_096

# What takes computer algebra for ever, and what is no formula.
_REFUSED = re.compile(
    r"\*\*|__|\^\s*\{[^{}]*\^|\^\s*(?:\d+|[A-Za-z]|\\[A-Za-z]+)\s*\^|\^\s*\{?\s*-?\d{4}|\d{3}\s*!|[!)}]\s*!|\\(?:sum|int|prod|lim)(?![a-z])"
    rf"|\d{{{MAX_DIGITS}}}"
)
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:[eE/][-+]?\d+)?%?")
_SYMBOL_EQUALS = re.compile(r"(?:\\?[A-Za-z]\w{0,10}(?:_?\{\w{1,10}\})?(?:\([A-Za-z0-9, ]{1,12}\))?\s*)?=(?!=)")
_EQUALS = re.compile(r"(?<![<>=!:])=+")
_OR = re.compile(r"\bor\b|\\(?:text|mathrm)\s?\{\s?or\s?\}|\\lor", re.IGNORECASE)
_ONE_SIGN = re.compile(r"(\d+)\u2044(\d+)")  # what normalize makes of a fraction that is one character
_SIGNS = (  # what the parser knows under another name only
    (re.compile(r"\u221a\s?(\d+(?:\.\d+)?|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\u221a\s?\(([^()]{1,100})\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=\d)\\,(?=\d{3}(?!\d))"), ""),
    (re.compile("\u221e"), r"\\infty "),
    (re.compile("\u00b7"), r"\\cdot "),
    (re.compile(r"~|\\q?quad(?![A-Za-z])"), " "),
    (re.compile(r"\\(?:approx|simeq|cong)(?![A-Za-z])|[\u2243\u2245]"), "\u2248"),
    (re.compile(r"\\equiv(?![A-Za-z])|\u2261"), "="),
    (re.compile(r"(?<![\\A-Za-z])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![\d.])(\d{1,9}) (\d{1,9})\s?/\s?(\d{1,9})(?![\d./])"), r"\1\\frac{\2}{\3}"),
)
# Words, then all of the formula between dollar signs.
_INLINE = re.compile(r"(?!.*\bnot\b)[A-Za-z :]{0,60}\$([^$]+)\$[A-Za-z ]{0,60}", re.IGNORECASE)
_UNIT = re.compile(
    r"(?<=[\d}]) ?(?:(?:[kcdm]?m|in|ft|yd)\^\{?[23]\}?|[kcm]?[mg]/[a-z]{1,3}(?:\^\{?[23]\}?)?"
    r"|(?<= )(?!(?:over|times|plus|minus|and|hundred|thousand|million|billion|percent)\b)[a-z]{3,12})\Z",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"\\?[$\u20ac\u00a3\u00a5]\s?(?=[\d.])")
_TWO_NUMBERS = re.compile(r"\d\s+\d+(?!\d*\s*/)|\d\s+(?!and\b)[A-Za-z]+\s+\d")  # the parser adds them up, or drops one
_COMMANDS = (
    "frac dfrac tfrac cfrac sqrt binom dbinom tbinom cdot times div pm mp left right big Big bigl bigr text "
    "mathrm mathbf textbf mathbb mathcal operatorname sin cos tan cot sec csc arcsin arccos arctan sinh cosh "
    "tanh log ln lg exp pi infty alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa "
    "lambda mu nu xi rho sigma tau phi varphi chi psi omega Delta Gamma Omega Phi Sigma Theta circ degree "
    "angle triangle le ge leq geq lt gt ne neq overline bar hat vec ell prime space displaystyle"
)
# What the parser does not know: it drops what stands on one side.
_FOREIGN = re.compile(
    rf"\\\\|\\(?!(?:{_COMMANDS.replace(' ', '|')})(?![A-Za-z]))[A-Za-z]+|\.\s|\.\.+|[?&|@#`]|-+>|=>|::"
    "|[^\x00-\x7f\u00b0\u00b1\u00d7\u00f7\u0391-\u03c9\u2212\u2260\u2264\u2265]"
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\s?\{[^{}]*\}(?:\s?\^\s?\{?\d\}?)?")


def is_formula(text: str) -> bool:
    """Whether `text` is safe to hand to computer algebra: not too long, no towers of powers, no huge factorials."""
    return 0 < len(text) <= MAX_CHARS and _REFUSED.search(text) is None


def is_same_formula(answer: str, truth: str, seconds: float) -> bool | Failure:
    """Whether `answer` equals `truth`. One value only: no "or", no chains of equations, no two numbers side by side.

    A Failure when computer algebra did not come to an end within `seconds`.
    """
    ours, theirs = _bare(answer), _bare(truth)
    if ours == theirs or _is_same_word(ours, theirs):
        return True
    ours, theirs = _without_units(_value(ours, theirs), theirs)
    if _is_same_number(ours, theirs):
        return True
    if not is_formula(ours) or not is_formula(theirs) or "$" in ours:
        return False
    return _algebra().call({"truth": theirs, "answer": ours}, seconds)


def _bare(text: str) -> str:
    bare = _ONE_SIGN.sub(r"\\frac{\1}{\2}", unwrap(normalize(unwrap(text))))
    if inline := _INLINE.fullmatch(bare.rstrip(".,;\u3002 ")):
        bare = unwrap(inline[1])
    for sign, name in _SIGNS:
        bare = sign.sub(name, bare)
    return _exact(bare if bare.endswith("..") else bare.rstrip(".,;\u3002 "))


def _exact(text: str) -> str:
    """What stands before its rounded value; a value that a symbol has about is the symbol's."""
    left, sign, right = (part.strip() for part in text.partition("\u2248"))
    if not sign or not left:
        return right or text
    if _SYMBOL_EQUALS.fullmatch(f"{left}="):
        return f"{left}={right}"
    exact, rounded = read_number(left), read_number(right)
    return left if exact is None or (rounded is not None and is_equal(exact, rounded)) else text


def _without_units(ours: str, theirs: str) -> tuple[str, str]:
    """Both without their unit or currency, unless these are two."""
    (left, unit), (right, other) = _split(ours), _split(theirs)
    return (left, right) if not unit or not other or unit == other else (ours, theirs)


def _split(text: str) -> tuple[str, str]:
    money, unit = _CURRENCY.match(text), _UNIT.search(text)
    start, end = money.end() if money else 0, unit.start() if unit else len(text)
    return text[start:end], (text[:start] + text[end:]).replace("\\", "").strip()


def _is_same_number(ours: str, theirs: str) -> bool:
    if not _NUMBER.fullmatch(ours) or not _NUMBER.fullmatch(theirs):
        return False
    left, right = read_number(ours), read_number(theirs)
    return left is not None and right is not None and left.value == right.value and left.is_percent == right.is_percent


def _is_same_word(ours: str, theirs: str) -> bool:
    return len(theirs) > 2 and theirs.replace(" ", "").isalpha() and loose(ours) == loose(theirs)


def _value(ours: str, theirs: str) -> str:
    """The answer without "x =" where the truth has none; empty when it says more than one thing."""
    if any(pattern.search(ours) and not pattern.search(theirs) for pattern in (_OR, _TWO_NUMBERS)):
        return ""
    if _says_more(ours, theirs):
        return ""
    wanted = len(_EQUALS.findall(theirs))
    if wanted == 0 and (named := _SYMBOL_EQUALS.match(ours)):
        ours = ours[named.end() :].strip()
    return ours if len(_EQUALS.findall(ours)) <= wanted else ""


def _says_more(ours: str, theirs: str) -> bool:
    """Whether something that the parser drops, and that the truth does not have, parts the answer in two."""
    if not _is_balanced(ours) and _is_balanced(theirs):
        return True
    foreign = [found for found in _FOREIGN.finditer(ours) if found[0].strip() not in theirs]
    texts = [found for found in _TEXT.finditer(ours) if found[0] not in theirs]
    return any(_parts(ours, found, r"\w") for found in foreign) or any(_parts(ours, found, r"\d") for found in texts)


def _parts(text: str, found: re.Match[str], what: str) -> bool:
    return all(re.search(what, side) for side in (text[: found.start()], text[found.end() :]))


def _is_balanced(text: str) -> bool:
    """No bracket, of whatever kind, closes before one has opened."""
    depth = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return False
    return True


@cache
def _algebra() -> Confined:
    warm_ups = [{"truth": "\\frac{1}{2}x", "answer": "x-x/2"}]
    return Confined("verl.scoring.confined.symbolic:compare", Limits(memory_mib=MEMORY_MIB, warm_ups=warm_ups))
