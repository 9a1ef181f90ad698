# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Draws two SVG documents on one canvas and compares the pictures; for a worker process, because a few bytes of SVG
can take for ever to draw.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from lxml import etree
from numpy.typing import NDArray
from PIL import Image

MAX_NODES, MAX_DEPTH = 2_000, 64
CANVAS = 128  # pixels of the longer side
LEAST_VARIANCE = 1e-6  # of a picture that shows anything
NAMESPACE = "http://www.w3.org/2000/svg"
Picture = NDArray[np.float64]

_DRAWN = (
    "svg g defs symbol use title desc metadata path rect circle ellipse line polyline polygon text tspan textPath a "
    "switch view style linearGradient radialGradient stop clipPath mask pattern marker filter "
    "animate animateTransform animateMotion set mpath "
    "feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap "
    "feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode "
    "feMorphology feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence"
)
_ELEMENTS = frozenset(_DRAWN.split())
_OUTSIDE = re.compile(r"url\s*\(\s*['\"]?\s*(?!#)[^\s)]|@import|@font-face|expression\s*\(", re.IGNORECASE)
_DECLARED = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_LENGTH = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*(?:px)?\s*")


def compare(request: dict[str, str]) -> dict[str, Any]:
    """{"is_truth": ..., "is_svg": ..., "visual": likeness of the pictures, "tags": F1 of element names}.

    is_truth is false for a truth that is no SVG or shows nothing; is_svg for an answer that is none or reaches outside.
    """
    drawn = _truth(request["truth"])
    if drawn is None:
        return {"is_truth": False}
    picture, tags, size = drawn
    root = _parse(request["answer"])
    if root is None:
        return {"is_truth": True, "is_svg": False}
    try:
        visual = _likeness(_draw(root, size), picture)
    except ValueError:  # resvg refuses what it cannot draw
        visual = 0.0
    return {"is_truth": True, "is_svg": True, "visual": visual, "tags": _f1(_tags(root), tags)}


@lru_cache(maxsize=64)
def _truth(text: str) -> tuple[Picture, Counter[str], tuple[int, int]] | None:
    root = _parse(text)
    if root is None:
        return None
    width, height = _view(root)[2:]
    scale = CANVAS / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    tags = _tags(root)
    try:
        picture = _draw(root, size)
    except ValueError:
        return None
    return (picture, tags, size) if picture.var(axis=(0, 1)).sum() > LEAST_VARIANCE else None


def _parse(text: str) -> Any:
    """The root of a harmless SVG document, or None."""
    text = text.strip()
    if _DECLARED.search(text):
        return None
    if NAMESPACE not in text:
        text = text.replace("<svg", f'<svg xmlns="{NAMESPACE}"', 1)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    nodes = list(root.iter())
    is_small = len(nodes) <= MAX_NODES and _depth(root) <= MAX_DEPTH
    is_svg = etree.QName(root).localname == "svg"
    return root if is_svg and is_small and all(_is_harmless(node) for node in nodes) else None


def _depth(root: Any) -> int:
    depth, level = 0, [root]
    while level and depth <= MAX_DEPTH:
        depth, level = depth + 1, [child for node in level for child in node]
    return depth


def _is_harmless(node: Any) -> bool:
    name = etree.QName(node)
    if name.namespace != NAMESPACE or name.localname not in _ELEMENTS:
        return False
    if name.localname == "style" and _OUTSIDE.search(node.text or ""):
        return False
    return all(_is_harmless_attribute(etree.QName(key).localname, value) for key, value in node.attrib.items())


def _is_harmless_attribute(name: str, value: str) -> bool:
    if name.lower().startswith("on") or name == "base":
        return False
    return value.strip().startswith("#") if name == "href" else _OUTSIDE.search(value) is None


def _tags(root: Any) -> Counter[str]:
    return Counter(etree.QName(node).localname for node in root.iter())


def _view(root: Any) -> tuple[float, float, float, float]:
    """The viewBox, or one made of width and height."""
    numbers = (root.get("viewBox") or "").replace(",", " ").split()
    try:
        x, y, width, height = (float(number) for number in numbers)
    except ValueError:
        x = y = 0.0
        found = [_LENGTH.fullmatch(root.get(side) or "") for side in ("width", "height")]
        width, height = (float(match[1]) if match else 100.0 for match in found)
    is_sane = all(abs(number) < 1e6 for number in (x, y)) and 1e-3 < width < 1e6 and 1e-3 < height < 1e6
    return (x, y, width, height) if is_sane else (0.0, 0.0, 100.0, 100.0)


def _draw(root: Any, size: tuple[int, int]) -> Picture:
    """[H, W, 3] in [0, 1] on white. The document's own size does not count, what it shows fills the canvas."""
    root.set("viewBox", " ".join(map(str, _view(root))))
    root.set("width", str(size[0]))
    root.set("height", str(size[1]))
    text = etree.tostring(root, encoding="unicode")
    data = resvg_py.svg_to_bytes(
        svg_string=text,
        background="#ffffff",
        skip_system_fonts=True,  # the same picture on every machine
        font_files=_fonts() if "text" in text else [],
        font_family="DejaVu Sans",
        sans_serif_family="DejaVu Sans",
        serif_family="DejaVu Sans",
        monospace_family="DejaVu Sans",
    )
    image = Image.open(io.BytesIO(bytes(data))).convert("RGB")
    return np.asarray(image.resize(size) if image.size != size else image, dtype=np.float64) / 255


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """The fonts that come with matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    folder = Path(package.origin or "").parent / "mpl-data" / "fonts" / "ttf" if package else Path()
    return [str(file) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf") if (file := folder / name).is_file()]


def _likeness(picture: Picture, truth: Picture) -> float:
    """Mean of the share of variance explained, of colours and of edges; 0 when the colours explain nothing."""
    colours = _explained(picture, truth)
    return (colours + _explained(_edges(picture), _edges(truth))) / 2 if colours > 0 else 0.0


def _explained(picture: Picture, truth: Picture) -> float:
    spread = float(((truth - truth.mean(axis=(0, 1))) ** 2).mean())
    return (
        max(0.0, 1 - float(((picture - truth) ** 2).mean()) / spread) if spread > 0 else float((picture == truth).all())
    )


def _edges(picture: Picture) -> Picture:
    """Size of the gradient of brightness, blurred over five pixels so that a near miss is near."""
    down, right = np.gradient(picture.mean(axis=2))
    edges = np.hypot(down, right)
    for axis in (0, 1):
        edges = sum(np.roll(edges, step, axis) for step in range(-2, 3)) / 5
    return edges[:, :, None]


def _f1(ours: Counter[str], theirs: Counter[str]) -> float:
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
