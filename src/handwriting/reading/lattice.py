"""Candidates for characters, with scores -> the best reading of a line: a way through the lattice of cuts.

Nodes are cuts, edges are candidates with a label each, or pieces passed over. The score of a way is the sum of its
candidates' log-odds of being exactly one character, and of their labels' log-probabilities. Sums of log-odds compare
ways of different length fairly: a candidate that is not on a way counts as being no character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handwriting.reading.constraints import Constraint, State
from handwriting.reading.lines import Strip
from handwriting.reading.pieces import Candidate, Cuts

Array = NDArray[np.float64]

MOST_STATES = 300  # of the constraint kept at a node: more than any length or pattern of practical size has
UNLIKELY = -9.0  # log-probability below which a label is not tried


@dataclass(frozen=True)
class Edge:
    """A character that may stand between two cuts, or (label None) pieces passed over."""

    start: int
    end: int
    label: str | None
    score: float
    candidate: int  # its number among the candidates; -1 for separators between pieces and pieces passed over


@dataclass(frozen=True)
class Way:
    """A reading of a line."""

    score: float
    edges: tuple[Edge, ...]

    @property
    def text(self) -> str:
        """The labels in a row."""
        return "".join(edge.label for edge in self.edges if edge.label is not None)


@dataclass(frozen=True)
class Lattice:
    """A line's cuts and candidates, and what is known of them.

    Attributes:
        classes: names of the C classes.
        labels: float64 (n, C): score of each candidate on a way, read as each class; -inf is out of the question.
        places: float64 (n, C): the same, where it is known what is read, and asked between which cuts.
        whole: float64 (n,): score of being exactly one character, whichever.
        stroke, sign: float64 (n,): score of being a sign that the classes lack, of one stroke (``/``), or small.
        probabilities: float64 (n, C): of the classes, were it one of them.
        character: float64 (n,) in 0..1: the classifier's own score of being one whole character.
        passed: float64 (pieces,): score of passing over a piece, as of no character.
    """

    strip: Strip
    cuts: Cuts
    candidates: list[Candidate]
    classes: tuple[str, ...]
    labels: Array
    places: Array
    whole: Array
    stroke: Array
    sign: Array
    probabilities: Array
    character: Array
    passed: Array


@dataclass
class _Partial:
    score: float
    text: str
    edge: Edge | None
    before: _Partial | None


def label_edges(lattice: Lattice, allowed: frozenset[str]) -> list[Edge]:
    """Candidates -> an edge for each class that is allowed and worth trying."""
    columns = [column for column, name in enumerate(lattice.classes) if name in allowed]
    edges: list[Edge] = []
    for number, candidate in enumerate(lattice.candidates):
        row = lattice.labels[number]
        least = float(lattice.whole[number]) + UNLIKELY
        edges.extend(
            Edge(candidate.start, candidate.end, lattice.classes[column], float(row[column]), number)
            for column in columns
            if row[column] > least
        )
    return edges


def passing_edges(lattice: Lattice) -> list[Edge]:
    """An edge for each piece that passes it over."""
    return [Edge(piece, piece + 1, None, float(score), -1) for piece, score in enumerate(lattice.passed)]


def best_ways(count: int, edges: Sequence[Edge], rule: Constraint, keep: int = 2) -> list[Way]:
    """Lattice of ``count`` pieces -> the best ways from end to end that ``rule`` accepts, of differing texts."""
    leaving: list[list[Edge]] = [[] for _ in range(count)]
    for edge in edges:
        leaving[edge.start].append(edge)
    nodes: list[dict[State, list[_Partial]]] = [{} for _ in range(count + 1)]
    nodes[0][rule.start] = [_Partial(0.0, "", None, None)]
    for at in range(count):
        for state, partials in _strongest(nodes[at]):
            for edge in leaving[at]:
                after = state if edge.label is None else rule.step(state, edge.label)
                if after is None:
                    continue
                held = nodes[edge.end].setdefault(after, [])
                for partial in partials:
                    text = partial.text + edge.label if edge.label is not None else partial.text
                    _hold(held, _Partial(partial.score + edge.score, text, edge, partial), keep)
        nodes[at] = {}
    ends: list[_Partial] = []
    for state, partials in nodes[count].items():
        if rule.accepts(state):
            for partial in partials:
                _hold(ends, partial, keep)
    return [Way(partial.score, _edges_to(partial)) for partial in ends]


def _strongest(states: dict[State, list[_Partial]]) -> list[tuple[State, list[_Partial]]]:
    items = list(states.items())
    if len(items) > MOST_STATES:
        items.sort(key=lambda item: -item[1][0].score)
    return items[:MOST_STATES]


def _hold(held: list[_Partial], new: _Partial, keep: int) -> None:
    """Adds a partial way to those held, best first, one a text, at most ``keep``."""
    for place, old in enumerate(held):
        if old.text == new.text:
            if new.score <= old.score:
                return
            del held[place]
            break
    place = 0
    while place < len(held) and held[place].score >= new.score:
        place += 1
    held.insert(place, new)
    del held[keep:]


def _edges_to(partial: _Partial) -> tuple[Edge, ...]:
    edges: list[Edge] = []
    at: _Partial | None = partial
    while at is not None and at.edge is not None:
        edges.append(at.edge)
        at = at.before
    return tuple(reversed(edges))
