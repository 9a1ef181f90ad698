# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Letters that words lead to: "the answer is B", "B fits best", in several languages."""

from __future__ import annotations

import re

from verl.scoring.choices import Options

_CUES = (
    re.compile(
        r"\b(?i:answer|letter|option|choice|choose|pick|select|(?:go|going|stick|settle) with|think|believe|guess|say"
        r"|is|be|it's|that's|so|thus|hence"
        r"|therefore|(?<!anything )(?<!all )(?<!option )but|likely|leaves|leaving|(?<!was )leaning towards?)"
        r"\b(?: only)?[\s:,*\"'(\[]{1,4}([A-Z])\b(?![\w'-])"
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
        r"\b(?i:respuesta|resposta|risposta|r[e\u00e9]ponse|antwort|l\u00f6sung)(?:[\s:]{1,3}(?:correct[ae]"
        r"|corret[at]a?|giusta|finale?|es|\u00e9|\u00e8|est|ist|la|a|die|der|opci\u00f3n|op\u00e7\u00e3o|opzione|option"
        r"|lettre|letra|lettera|buchstabe)){0,6}[\s:*]{1,4}\(?([A-Z])(?=\*{0,2}\s?(?:[.,;:()\[\]!]|$|(?:ist|es|est|\u00e9|\u00e8)\b))"
    ),
)
_MADE = re.compile(
    r"\b(?:makes?|making|leaves?|leaving) \(?([A-Z])\)? (?:as )?(?:the|my|our)\b"
    r"(?! (?:wrong|incorrect|least|worst|odd)\b)"
)
_PRAISED = re.compile(
    r"(?<![\w'])\(?([A-Z])(?:[.):](?:(?!\b[A-Z]\b)[^.;\n]){0,80})?\)?\s+(?:is\s+(?:the\s+)?(?:correct|right|best|answer"
    r"|(?:more|most) (?:accurate|likely|plausible|suitable|appropriate))"
    r"|(?:fits|matches)(?: \w+){0,3} (?:best|better)|best (?:fits|matches|describes))\b"
)
_PRONOUN = re.compile(r"\s+(?:think|believe|guess|would|will|am|can|cannot|could|do|don't|have|see|choose|pick)\b")
_ARTICLE = re.compile(  # "A" before a noun
    r" (?!(?:is|was|as|and|or|because|since|which|that|for|in|from|on|at|based|then|but|would|seems|over|to)\b)"
    r"[a-z]{2,}"
)
_LABEL = re.compile(r"\b(?:option|choice|letter) $", re.IGNORECASE)  # what follows is no article
UNDECIDED = re.compile(
    r"\b(?:cannot (?:decide|choose)|undecided|toss-up|between the two(?: options| choices|(?! \w)))\b"
    r"(?!.*\b[A-HJ-Z]\b)",
    re.DOTALL,
)
_INITIAL = re.compile(r"\.\s?[A-Z]\.")  # of a name
_HEDGED = re.compile(
    r"\)?\s*(?:or|and|/|,|&)\s*(?:(?:maybe|perhaps|possibly|even)\s+)?(?:option\s+)?\(?[A-Z]\b(?!\w)", re.IGNORECASE
)
_DENIED = re.compile(
    r"\)?\s*(?:is|was|are|does|did)?\s*(?:not|n't|never|cannot|can't|incorrect|wrong|false|ruled out)\b"
    # Chinese: (is) wrong, not right; Japanese: is wrong, is not; Korean: is not, is wrong
    "|\\)?\\s?(?:\u662f?\u9519|\u4e0d(?:\u5bf9|\u6b63\u786e|\u662f)|[\u306f\u304c]?(?:\u9593\u9055|\u8aa4|\u9055)"
    "|\u3067\u306f(?:\u306a\u3044|\u3042\u308a\u307e\u305b\u3093)|(?:\uc774|\uac00)\\s?\uc544|[\uc740\ub294]\\s?\ud2c0)",
    re.IGNORECASE,
)
_DOUBTED = re.compile(r"\b(?:if|whether|why|doubt|unlikely|least)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;,]|\bbut\b")
NEGATION = re.compile(r"\b(?:not|never|neither|nor|no|cannot|except|incorrect|wrong)\b|n't\b", re.IGNORECASE)


def cued(text: str, known: Options) -> str | None:
    """The last letter that words such as "the answer is" lead to, or that is called correct."""
    cues = [found for pattern in (*_CUES, _MADE, _PRAISED) for found in pattern.finditer(text)]
    for cue in sorted(cues, key=lambda cue: cue.end(), reverse=True):
        letter = cue[cue.lastindex or 1]
        at = cue.start(cue.lastindex or 1)
        before, after = text[max(cue.start() - 24, 0) : at], text[at + 1 :]
        if letter not in known.texts or any(sign.match(after) for sign in (_PRONOUN, _DENIED, _INITIAL)):
            continue
        if letter == "A" and _ARTICLE.match(after) and not _LABEL.search(before):
            continue
        if _HEDGED.match(after):
            return None
        clause = _CLAUSE.split(before)[-1]
        if not NEGATION.search(clause) and not _DOUBTED.search(clause):
            return letter
    return None
