"""Signs between characters that a pattern asks for and the model has no class for: found by their shape."""

from __future__ import annotations

from collections.abc import Sequence

from handwriting.reading.lattice import Edge
from handwriting.reading.pieces import FEATURES, Candidate
from handwriting.reading.scoring import Array

WIDTH, HEIGHT, OFF_MIDDLE = (FEATURES.index(name) for name in ("width", "height", "off_middle"))
LIKELY, UNLIKELY = 3.0, -8.0

# sign -> bounds, in heights of the line: width, height, how far its middle lies below the line's
SHAPES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    **dict.fromkeys("-–—~", ((0.15, 1.2), (0.0, 0.4), (-0.35, 0.35))),
    "_": ((0.2, 1.5), (0.0, 0.3), (0.3, 0.9)),
    "=": ((0.15, 1.2), (0.1, 0.6), (-0.35, 0.35)),
    **dict.fromkeys(".,", ((0.0, 0.35), (0.0, 0.45), (0.15, 0.9))),
    "'": ((0.0, 0.3), (0.0, 0.45), (-0.9, -0.15)),
    ":": ((0.0, 0.35), (0.25, 1.0), (-0.3, 0.4)),
    **dict.fromkeys("/\\|()[]!", ((0.03, 0.9), (0.65, 1.9), (-0.5, 0.5))),
}
ANY_SHAPE = ((0.1, 1.5), (0.2, 1.9), (-0.6, 0.6))


def separator_edges(candidates: Sequence[Candidate], whole: Array, signs: frozenset[str]) -> list[Edge]:
    """Candidates, their log-odds of being a character (n,), signs asked for -> edges for those shaped like one.

    A stroke can pass for a slash, a bracket and a 1 at once: there it is the pattern's places that decide, so such a
    sign scores as the character would.
    """
    return [
        Edge(candidate.start, candidate.end, sign, score, number)
        for number, candidate in enumerate(candidates)
        for sign in sorted(signs - {" "})
        if (score := _score(candidate, float(whole[number]), sign)) > UNLIKELY
    ]


def _score(candidate: Candidate, whole: float, sign: str) -> float:
    bounds = SHAPES.get(sign, ANY_SHAPE)
    values = (candidate.features[WIDTH], candidate.features[HEIGHT], candidate.features[OFF_MIDDLE])
    if not all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True)):
        return UNLIKELY
    if sign in "/\\|()[]!":
        return max(whole, 0.0)
    return LIKELY if sign in SHAPES else 0.0
