"""Signs between characters that a pattern asks for and the model has no class for: found by their shape."""

from __future__ import annotations

from handwriting.reading.lattice import Edge, Lattice
from handwriting.reading.pieces import shape

STROKES = frozenset("/\\|()[]!")
NO_SHAPE = -3.0  # for a sign whose shape is not known: anything may be it, so nothing speaks for it

# sign -> bounds, in heights of the line: width, height, how far its middle lies below the line's
SHAPES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    **dict.fromkeys("-–—~", ((0.15, 1.2), (0.0, 0.4), (-0.35, 0.35))),
    "_": ((0.2, 1.5), (0.0, 0.3), (0.3, 0.9)),
    "=": ((0.15, 1.2), (0.1, 0.6), (-0.35, 0.35)),
    **dict.fromkeys(".,", ((0.0, 0.35), (0.0, 0.45), (0.15, 0.9))),
    "'": ((0.0, 0.3), (0.0, 0.45), (-0.9, -0.15)),
    ":": ((0.0, 0.35), (0.25, 1.0), (-0.3, 0.4)),
    **dict.fromkeys(STROKES, ((0.03, 0.9), (0.65, 1.9), (-0.5, 0.5))),
}
ANY_SHAPE = ((0.1, 1.5), (0.2, 1.9), (-0.6, 0.6))


def separator_edges(lattice: Lattice, signs: frozenset[str]) -> list[Edge]:
    """Signs asked for -> an edge for each candidate that is shaped like one.

    A stroke can pass for a slash, a bracket and a 1 at once: there it is the pattern's places that decide, so such a
    sign scores as the character would.
    """
    edges = []
    for number, candidate in enumerate(lattice.candidates) if signs - {" "} else ():
        values = shape(lattice.strip, candidate)
        for sign in sorted(signs - {" "}):
            bounds = SHAPES.get(sign, ANY_SHAPE)
            if all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True)):
                score = float((lattice.stroke if sign in STROKES else lattice.sign)[number])
                score += 0.0 if sign in SHAPES else NO_SHAPE
                edges.append(Edge(candidate.start, candidate.end, sign, score, number))
    return edges
