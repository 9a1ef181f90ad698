# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The six little worlds of VideoReasonBench: what a list of operations makes of a state.

The moves and their oddities are those of the published scripts; operations are read by rules where those ask an LLM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Board: TypeAlias = tuple[tuple[int, ...], ...]
Place: TypeAlias = tuple[int, int]

CARDS = frozenset(
    f"{value} of {suit}"
    for value in ("Ace", *map(str, range(2, 11)), "Jack", "Queen", "King")
    for suit in ("Hearts", "Clubs", "Diamonds", "Spades")
)
CHIPS = frozenset((5, 10, 20, 50, 100))
MAX_OPERATIONS = 1_000
SLIDES: Mapping[str, Place] = {"up": (-1, 0), "down": (1, 0), "left": (0, 1), "right": (0, -1)}  # of the empty place
STEPS: Mapping[str, Place] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # of the circle: x, y

_LINES = {sign: number for signs in ("abcde", "12345") for number, sign in enumerate(signs)}
_FOLDERS = {"touch": 1, "rm": 1, "cp": 2, "mv": 2}  # that a command names; others change nothing

_DIRECTION = re.compile(r"\b(left|right|up|down)(?:wards?)?\b", re.IGNORECASE)
_CELL = re.compile(r"(?<![A-Za-z0-9])\(?([a-e])(?:,\s?)?([1-9])(?![A-Za-z0-9])", re.IGNORECASE)
_COMMAND = re.compile(r"(?<![\w/.-])(?:touch|rm|cp|mv|mkdir|echo)\s[^&;\n`|]*")
_NAMES = re.compile(r"\{([^}]+)\}")
_PATH = re.compile(r"path\d+")
_CARD = re.compile(
    r"\b(add|remov)\w*\s+(?:the\s+|an?\s+)?(\w+ of \w+)\s+(?:(?:to|from|onto|the|top|bottom|of)\s+){1,5}(pile\s?\d)\b",
    re.IGNORECASE,
)
_CHIP = re.compile(
    r"\b(add|remov)\w*\s+(?:the\s+|an?\s+)?(?:chip\s+)?(\d{1,4})\s+(?:(?:chip|to|from|in|into|the)\s+){0,4}(cup\s?\d)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"(\d+)x(\d+) (?:grid|board)")


def slide(board: Board, move: str) -> Board | None:
    """A sliding puzzle after a move, 0 being empty; None for a move that cannot be made.

    "left" and "right" say where the number goes, "up" and "down" where the empty place goes.
    """
    rows, columns = SLIDES.get(move, (0, 0))
    at = next((row, line.index(0)) for row, line in enumerate(board) if 0 in line)
    to = (at[0] + rows, at[1] + columns)
    if at == to or not _holds(board, to):
        return None
    return _swap(board, at, to)


def step(board: Board, at: Place, move: str) -> tuple[Board, Place] | None:
    """Pieces after the circle at (x, y) has moved: the one it moves to and its neighbours turn over. None outside."""
    across, along = STEPS.get(move, (0, 0))
    x, y = at[0] + across, at[1] + along
    if (x, y) == tuple(at) or not _holds(board, (y, x)):
        return None
    turned = {(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)}
    flipped = tuple(
        tuple(1 - piece if (row, column) in turned else piece for column, piece in enumerate(line))
        for row, line in enumerate(board)
    )
    return flipped, (x, y)


def swap_cups(board: Board, first: str, second: str) -> Board:
    """Cups after two of them, such as "a1" and "b2", have changed places; unchanged where one is not on the board.

    A letter is as good as a digit, and what follows the second of them is not looked at, but capitals are on no board.
    """
    cells = [_cell(first), _cell(second)]
    return _swap(board, *cells) if all(_holds(board, cell) for cell in cells) else board


def run_commands(files: Mapping[str, frozenset[str]], commands: Sequence[str]) -> dict[str, frozenset[str]] | None:
    """Files in folders after touch, rm, cp and mv; None for a command about a folder that is not there."""
    state = dict(files)
    for command in commands:
        names, folders = _NAMES.search(command), _PATH.findall(command)
        kind = next((kind for kind in _FOLDERS if command.startswith(kind)), "")
        needed = _FOLDERS.get(kind, 0)
        if names is None or len(folders) < needed or any(folder not in state for folder in folders[:needed]):
            return None
        listed = frozenset(names[1].split(","))
        if kind == "touch":
            state[folders[0]] |= listed
        elif kind == "rm":
            state[folders[0]] -= listed
        elif kind:
            moved = listed & state[folders[0]]
            state[folders[0]] -= moved if kind == "mv" else frozenset()
            state[folders[1]] |= moved
    return state


def _cell(name: str) -> Place:
    row, column = (_LINES.get(sign, -1) for sign in f"{name:2}"[:2])
    return row, column


def _holds(board: Board, cell: Place) -> bool:
    return 0 <= cell[0] < len(board) and 0 <= cell[1] < len(board[0])


def _swap(board: Board, first: Place, second: Place) -> Board:
    cells = {first: board[second[0]][second[1]], second: board[first[0]][first[1]]}
    return tuple(
        tuple(cells.get((row, column), value) for column, value in enumerate(line)) for row, line in enumerate(board)
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether operations lead to what was asked for: by the published comparison, and by what the question says.

    The scripts hold piles from bottom to top and compare them with a target from top to bottom, and they compare chips
    in order although their order "does not matter": there, right answers are wrong.
    """

    published: bool
    asked: bool

    @classmethod
    def both(cls, right: bool) -> Reached:
        """Where the two agree."""
        return cls(right, right)


NOT_REACHED = Reached(published=False, asked=False)


def reached(demo: str, question: str, start: Mapping[str, Any], answer: str) -> Reached:
    """Where the operations in `answer` lead from the state in `start`, which for the grid has "coord" besides "state".

    Raises ValueError for a question without a target.
    """
    return _DEMOS[demo](question, start, answer)


def _hrd(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    board = _board(start["state"])
    moves = read_directions(answer)
    for move in moves:
        board = slide(board, move) or board
    cells = _assignments(question, r"the desired number arrangement:\s*`([^`]+)`")
    size = _size(question)
    target = {(size[0] - 1 - _letter(a), int(b) - 1): int(value) for a, b, value in cells}
    return Reached.both(bool(moves) and board == _filled(size, target))


def _grid(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    board, at = _board(start["state"]), (int(start["coord"][0]), int(start["coord"][1]))
    moves = read_directions(answer)
    for move in moves:
        board, at = step(board, at, move) or (board, at)
    cells = _assignments(question, r"the desired arrangement of black and white pieces:\s*`([^`]+)`")
    target = {(_letter(a), int(b)): int(value == "black") for a, b, value in cells}
    return Reached.both(bool(moves) and board == _filled(_size(question), target))


def _cup(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    board, swaps = _board(start["state"]), read_swaps(answer)
    for first, second in swaps:
        board = swap_cups(board, first, second)
    names = _target(question, r"achieve the desired distribution of coins:\s*`([^`]+)`").split(", ")
    target = {(_letter(name[0]), int(name[1]) - 1): 1 for name in names}
    return Reached.both(bool(swaps) and board == _filled(_size(question), target))


def _files(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    commands = read_commands(answer)
    wanted = frozenset(_target(question, r"contains exactly the following files:\s*`([^`]+)`").split(", "))
    kinds = {"touch": frozenset[str](), "rm -rf": frozenset[str]()}
    for command in commands:
        kind = next((kind for kind in kinds if command.startswith(kind)), None)
        names = _NAMES.search(command)
        if kind is None or names is None:
            return NOT_REACHED
        kinds[kind] = frozenset(names[1].split(","))
    if not 0 < len(commands) <= 2 or kinds["touch"] & kinds["rm -rf"]:
        return NOT_REACHED
    state = run_commands({path: frozenset(held) for path, held in start["state"].items()}, commands)
    return Reached.both(state is not None and state.get(_where(question)) == wanted)


def _cards(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    state = {pile: list(cards) for pile, cards in start["state"].items()}
    wanted = _target(question, r"contains exactly the following cards from top to bottom:\s*`([^`]+)`").split(", ")
    moves = read_changes(answer, _CARD)
    for action, card, pile in moves:
        if card not in CARDS or pile not in state:
            return NOT_REACHED
        if action == "add":
            state[pile].append(card)
        elif state[pile][:1] == [card]:
            del state[pile][0]
        else:
            return NOT_REACHED
    held = state.get(_where(question), [])
    return Reached(published=bool(moves) and held == wanted, asked=bool(moves) and held[::-1] == wanted)


def _chips(question: str, start: Mapping[str, Any], answer: str) -> Reached:
    state = {cup: list(map(int, chips)) for cup, chips in start["state"].items()}
    wanted = [int(chip) for chip in _target(question, r"contains exactly the following chips:\s*`([^`]+)`").split(", ")]
    moves = read_changes(answer, _CHIP)
    for action, name, cup in moves:
        chip = int(name)
        if chip not in CHIPS or cup not in state:
            return NOT_REACHED
        if action == "add":
            state[cup].append(chip)
        elif chip in state[cup]:
            state[cup].remove(chip)
        else:
            return NOT_REACHED
    held = state.get(_where(question), [])
    return Reached(published=bool(moves) and held == wanted, asked=bool(moves) and sorted(held) == sorted(wanted))


def read_directions(answer: str) -> list[str]:
    """left, right, up and down, in the order in which they are said."""
    return [word.lower() for word in _DIRECTION.findall(answer)[:MAX_OPERATIONS]]


def read_swaps(answer: str) -> list[tuple[str, str]]:
    """Pairs of places such as (a1, b2), in order; none at all when a place is left over."""
    names = [letter.lower() + digit for letter, digit in _CELL.findall(answer)[: 2 * MAX_OPERATIONS]]
    return list(zip(names[::2], names[1::2], strict=True)) if len(names) % 2 == 0 else []


def read_commands(answer: str) -> list[str]:
    """Shell commands, whatever stands around them."""
    return [command.strip().rstrip(".") for command in _COMMAND.findall(answer)[:MAX_OPERATIONS]]


def read_changes(answer: str, pattern: re.Pattern[str]) -> list[tuple[str, str, str]]:
    """(add or remove, what, where), in order; cards as they are spelt in `CARDS`."""
    found = pattern.findall(answer)[:MAX_OPERATIONS]
    return [
        ("add" if action.lower() == "add" else "remove", _spelt(what), where.lower().replace(" ", ""))
        for action, what, where in found
    ]


def _spelt(card: str) -> str:
    return re.sub(r"\bOf\b", "of", card.title())


def _board(state: Sequence[Sequence[int]]) -> Board:
    return tuple(tuple(int(cell) for cell in line) for line in state)


def _filled(size: Place, cells: Mapping[Place, int]) -> Board:
    return tuple(tuple(cells.get((row, column), 0) for column in range(size[1])) for row in range(size[0]))


def _letter(name: str) -> int:
    return ord(name) - ord("a")


def _assignments(question: str, pattern: str) -> list[tuple[str, str, str]]:
    return re.findall(r"\((\w),(\w)\): (\w+)", _target(question, pattern))


def _size(question: str) -> Place:
    found = _SIZE.search(question)
    if found is None:
        raise ValueError("the question names no size of a board")
    return int(found[1]), int(found[2])


def _where(question: str) -> str:
    return _target(question, r"to ensure that\s*`([^`]+)` contains exactly")


def _target(question: str, pattern: str) -> str:
    found = re.search(pattern, question)
    if found is None:
        raise ValueError("the question names no state to reach")
    return found[1]


_DEMOS: Mapping[str, Callable[[str, Mapping[str, Any], str], Reached]] = {
    "hrd": _hrd,
    "grid": _grid,
    "cup": _cup,
    "file_sys": _files,
    "card": _cards,
    "chip": _chips,
}
