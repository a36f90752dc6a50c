from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handwriting.reading.constraints import constraint, free, luhn_holds
from handwriting.reading.lattice import Edge, best_ways

_edge = st.tuples(
    st.integers(0, 4), st.integers(1, 2), st.sampled_from(["1", "7", None]), st.floats(-5, 5).map(lambda x: round(x, 2))
)


def _every_way(count: int, edges: list[Edge]) -> list[tuple[float, str]]:
    ways = [(0, 0.0, "")]
    ends = []
    while ways:
        at, score, text = ways.pop()
        if at == count:
            ends.append((score, text))
            continue
        ways += [(e.end, score + e.score, text + (e.label or "")) for e in edges if e.start == at]
    return ends


@given(st.lists(_edge, max_size=14))
def test_the_best_way_is_the_best_of_all_ways(drawn: list[tuple[int, int, str | None, float]]) -> None:
    edges = [Edge(s, min(s + n, 5), label, score, -1) for s, n, label, score in drawn]
    ways = _every_way(5, edges)
    found = best_ways(5, edges, free())
    assert bool(found) == bool(ways)
    if ways:
        assert abs(found[0].score - max(score for score, _ in ways)) < 1e-9
        others = [score for score, text in ways if text != found[0].text]
        assert len(found) == min(2, 1 + bool(others))
        assert not others or abs(found[1].score - max(others)) < 1e-9


@given(st.integers(0, 2**32 - 1), st.integers(3, 6))
def test_a_constraint_finds_the_best_text_that_keeps_it(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    logs = np.log(rng.dirichlet(np.ones(3), count))
    edges = [
        Edge(place, place + 1, label, float(logs[place, column]), place)
        for place in range(count)
        for column, label in enumerate("059")
    ]
    found = best_ways(count, edges, constraint(None, None, "luhn"))
    texts = ["".join(labels) for labels in itertools.product("059", repeat=count)]
    scores = {t: sum(logs[i, "059".index(c)] for i, c in enumerate(t)) for t in texts if luhn_holds(t)}
    assert found[0].text == max(scores, key=lambda t: scores[t])


def test_a_length_that_no_way_has_gives_no_reading() -> None:
    assert best_ways(2, [Edge(0, 1, "1", 0.0, 0), Edge(1, 2, "1", 0.0, 1)], constraint(3, None, None)) == []
