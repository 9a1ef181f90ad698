# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Compares what two HTML documents show and how they are built; for a worker process, because the error recovery that
HTML asks for can take for ever. Nothing is fetched and no script runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import html5lib

WEIGHTS = {"words": 0.35, "paths": 0.35, "tags": 0.2, "attributes": 0.1}

_UNSEEN = frozenset(
    ("head", "script", "style", "iframe", "template", "noscript", "title", "meta", "link", "base", "object", "embed")
)
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_FRAME = frozenset(("html", "body"))


@dataclass(frozen=True, slots=True)
class Page:
    """Multisets of what can be seen."""

    words: Counter[Hashable] = field(default_factory=Counter)
    paths: Counter[Hashable] = field(default_factory=Counter)  # parent and child
    tags: Counter[Hashable] = field(default_factory=Counter)
    attributes: Counter[Hashable] = field(default_factory=Counter)


def compare(request: dict[str, str]) -> dict[str, Any]:
    """{"is_truth": the truth shows an element, "is_html": so does the answer, "likeness": F1 of what either has}."""
    truth, answer = _read_truth(request["truth"]), _read(request["answer"])
    if not truth.tags or not answer.tags:
        return {"is_truth": bool(truth.tags), "is_html": bool(answer.tags), "likeness": 0.0}
    pairs = [(weight, getattr(answer, name), getattr(truth, name)) for name, weight in WEIGHTS.items()]
    defined = [(weight, ours, theirs) for weight, ours, theirs in pairs if ours or theirs]  # a page may have no words
    lost = sum(weight * (1 - _f1(ours, theirs)) for weight, ours, theirs in defined)
    likeness = 1 - lost / sum(weight for weight, _, _ in defined)
    return {"is_truth": True, "is_html": True, "likeness": max(0.0, likeness)}


@lru_cache(maxsize=64)
def _read_truth(text: str) -> Page:
    return _read(text)


def _read(text: str) -> Page:
    page = Page()
    waiting = [(html5lib.parse(text, treebuilder="etree", namespaceHTMLElements=False, scripting=True), "")]
    while waiting:
        node, parent = waiting.pop()
        if not isinstance(node.tag, str) or _is_hidden(node):
            continue  # a comment has a function for its tag
        if node.tag not in _FRAME:
            page.tags[node.tag] += 1
            page.paths[parent, node.tag] += 1
            page.attributes.update((node.tag, name, " ".join(value.split())) for name, value in node.attrib.items())
        page.words.update((node.text or "").casefold().split())
        for child in node:
            page.words.update((child.tail or "").casefold().split())
            waiting.append((child, node.tag))
    return page


def _is_hidden(node: Any) -> bool:
    return node.tag in _UNSEEN or "hidden" in node.attrib or _HIDING.search(node.get("style") or "") is not None


def _f1(ours: Counter[Hashable], theirs: Counter[Hashable]) -> float:
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
