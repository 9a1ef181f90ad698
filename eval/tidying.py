# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A response without what only dresses it: markup, special tokens, bullets, brackets of other scripts. Linear time."""

from __future__ import annotations

import html
import re

_THOUGHT = re.compile("\u25c1(/?)think\u25b7")  # Kimi's think tags
_TOKEN = re.compile(r"<\|(?!im_end|endoftext|eot_id)[a-z_]{1,30}\|>")
_BLOCK = re.compile(r"</?(?:p|br|div|li|ul|ol|h[1-6]|tr|td)\s?/?>", re.IGNORECASE)
_INLINE = re.compile(r"</?(?:b|i|u|em|strong|span|font|code|mark|sup|sub)(?:\s[^<>]{0,80})?>", re.IGNORECASE)
_TORN = re.compile(r"</[a-z]{0,6}\s{0,2}$")  # of a response that was cut
_CONCLUSION = re.compile(r"<(/?)conclusion>", re.IGNORECASE)  # of models that think in stages
_UNBOXED = re.compile(r"\\boxed\s?\{\s?(\(?[A-Za-z]\)?)\.?\s?$")  # of a response that was cut
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")
_CANNOT = re.compile("\\bcan(?:['\u2019]t| not)\\b", re.IGNORECASE)
_ASKED = re.compile(r"^Q:.{0,500}\n{1,3}A:", re.MULTILINE)
_ARROW = re.compile("\\s?(?:[\u2192\u21d2\u279c\u27a1\u2794]\ufe0f?|={1,2}>|->)")
_END = re.compile(r"[^\w)\]}>\"'$*`+#%-]{1,12}$")
_SQUARE = str.maketrans("[]", "()")
_BRACKETS = str.maketrans("\u3010\u3011\u300c\u300d\u300e\u300f\u3014\u3015\u3008\u3009\u300a\u300b", "()()()()()()")
_LEAD = re.compile(
    r"(?:[^\w\s(\[{<\"'$\\\\+-]|[-+](?=\s))[^\w(\[{<\"'$\\\\]{0,8}"  # arrows, ticks, bullets
    r"|[\[(](?:final )?answer[\])][:\s]{0,3}"
    r"|\d{1,2}[.)]\s+(?=\(?[A-Z]\b)"  # the number of a list
    r"|(?:(?:very |most )?(?:probably|likely)|maybe|perhaps|definitely|certainly|clearly|surely|ans\.?)[,:]?\s+",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:(?:no,? )?wait(?:,? no)?|actually|hold on|correction|i mean|sorry|on second thoughts?|scratch that)\b"
    r"[\s,:.!-]{0,4}",
    re.IGNORECASE,
)


def tidied(response: str) -> str:
    """`response` as plain text in which answer and think tags are still tags."""
    text = _THOUGHT.sub(r"<\1think>", response)
    if "<answer>" not in text:
        text = _CONCLUSION.sub(r"<\1answer>", text)
    if "<" in text:
        text = _INLINE.sub("", _BLOCK.sub("\n", _TOKEN.sub("", text)))
    if "&" in text:
        text = html.unescape(text)
    text = _CANNOT.sub("cannot", _STRUCK.sub("", _UNBOXED.sub(r"\\boxed{\1}", text)))
    return _TORN.sub("", _ASKED.sub("Answer:", text)).translate(_BRACKETS)


def undressed(text: str) -> str:
    """`text` without bullets, arrows, numbers of lists and words of doubt around it."""
    text = _ARROW.sub(":", text)
    for _ in range(3):
        found = _LEAD.match(text)
        if found is None:
            break
        text = text[found.end() :]
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return _END.sub("", inner).translate(_SQUARE)


def last_word(text: str) -> str | None:
    """What follows the last "no wait", "actually" and the like; None where nothing is taken back."""
    ends = [found.end() for found in _CORRECTION.finditer(text) if found.start()]
    return text[ends[-1] :].strip() if ends else None
