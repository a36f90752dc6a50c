from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handwriting.errors import UnknownName
from handwriting.reading import ConstraintError, luhn_holds, matches
from handwriting.reading.constraints import alphabet_of, constraint, exactly

_atoms = st.sampled_from(["0", "7", "/", "a", r"\d", r"\w", ".", "[0-4]", "[^0-4]", "[a7]", r"\.", r"\/", "(12)"])
_repeats = st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{1,3}", "{2,}"])
_sequences = st.lists(st.tuples(_atoms, _repeats), max_size=5).map(lambda parts: "".join(a + r for a, r in parts))
_patterns = st.one_of(
    _sequences,
    st.tuples(_sequences, _sequences).map("|".join),
    st.tuples(_sequences, _sequences, _repeats).map(lambda s: f"{s[0]}({s[1]}|1){s[2]}"),
)


@given(_patterns, st.text("0123457a/.", max_size=8))
def test_a_pattern_matches_what_pythons_own_engine_matches(pattern: str, text: str) -> None:
    assert matches(pattern, text) == (re.fullmatch(pattern, text, re.ASCII) is not None)


@given(st.text(r"0a()[]{}|?*+,-^\d", max_size=10))
def test_any_text_is_a_pattern_or_refused_in_one_line(pattern: str) -> None:
    said = ""
    try:
        matches(pattern, "0")
    except ConstraintError as error:
        said = str(error)
    assert not said or (pattern in said and "\n" not in said)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(12", "'\\)' is missing"),
        ("[12", "not closed"),
        ("*1", "nothing to repeat"),
        ("1{3,2}", "count up"),
        ("1)", "unexpected"),
    ],
)
def test_a_pattern_that_is_not_understood_is_refused_with_the_place(pattern: str, why: str) -> None:
    with pytest.raises(ConstraintError, match=why):
        matches(pattern, "1")


@given(st.text("0123456789", min_size=1, max_size=18))
def test_exactly_one_check_digit_completes_a_luhn_number(body: str) -> None:
    assert sum(luhn_holds(body + str(digit)) for digit in range(10)) == 1


@given(st.text("0123456789", min_size=2, max_size=18), st.data())
def test_luhn_finds_every_single_wrong_digit(body: str, data: st.DataObject) -> None:
    good = next(body + str(digit) for digit in range(10) if luhn_holds(body + str(digit)))
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != good[place]]))
    assert not luhn_holds(good[:place] + other + good[place + 1 :])


def test_luhn_knows_the_standards_example() -> None:
    assert luhn_holds("79927398713")
    assert luhn_holds("4539 1488 0343 6467".replace(" ", "-"))
    assert not luhn_holds("79927398710")


def test_length_pattern_and_checksum_hold_together() -> None:
    rule = constraint(4, r"\d+", "luhn")
    assert rule.allows("0018")
    assert not rule.allows("018")
    assert not rule.allows("0019")
    assert not rule.allows("a018")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConstraintError, match="at least 1"):
        constraint(0, None, None)
    with pytest.raises(UnknownName, match="luhn"):
        constraint(None, None, "lune")
    with pytest.raises(ConstraintError, match="knows none of it"):
        alphabet_of("letters", tuple("0123456789"))
    assert alphabet_of("01xyz", tuple("0123456789")) == frozenset("01")


def test_exactly_a_text_allows_it_alone() -> None:
    rule = exactly("1/21")
    assert rule.allows("1/21")
    for other in ("", "1/2", "1/211", "1/22"):
        assert not rule.allows(other)
    assert exactly("").allows("")
