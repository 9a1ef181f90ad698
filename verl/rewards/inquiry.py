# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Questions to a judge whose answer is more than one verdict: an object in a form of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from verl.rewards.judge_prompt import FENCE, escaped
from verl.types import NotScorable

MAX_REPLY_CHARS = 60_000

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry(Generic[Found]):
    """What is asked, what is told, and the form of the reply."""

    instructions: str  # what to do; that everything told is data is said before it
    told: Mapping[str, Any]  # sent as one JSON object
    form: Mapping[str, Any]  # JSON schema of the reply, an object
    read: Callable[[str], Found | None]  # the text of a reply; None: it is no reply of this form
    max_tokens: int  # of the reply; room for more where the judge has it

    def messages(self) -> list[dict[str, str]]:
        """The chat that asks."""
        closing = f"Reply with one JSON object of this schema, and with nothing else: {json.dumps(dict(self.form))}"
        system = "\n\n".join([FENCE, self.instructions.strip(), closing])
        return [{"role": "system", "content": system}, {"role": "user", "content": escaped(self.told)}]

    def constraint(self, *, is_choice: bool) -> dict[str, Any]:
        """The request field that keeps a server to the form: vLLM's own, or the usual one."""
        if is_choice:
            return {"structured_outputs": {"json": dict(self.form)}}
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": dict(self.form)},
            }
        }


class Inquirer(Protocol):
    """Who can be asked."""

    def inquire(self, inquiry: Inquiry[Found]) -> Found | NotScorable:
        """What was found, or why nothing was."""


def object_of(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object that is all of a reply, with or without a fence around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    if len(text) > MAX_REPLY_CHARS:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
