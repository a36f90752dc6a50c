r"""What is known of a text before it is read: its length, a pattern, a checksum; as automata that the search obeys.

A pattern is a subset of regular expressions, matched against the whole text of a line: characters, ``.`` (any),
``\d`` (0-9), ``\w`` (letters and digits), sets ``[0-9A-F]`` and ``[^0]``, groups ``( )``, alternatives ``|``, and
``?``, ``*``, ``+``, ``{m}``, ``{m,}``, ``{m,n}``; a backslash before any other sign means the sign itself.
Spaces in a pattern are for the eye: a gap between characters is no character, and the text read has none.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from handwriting.errors import HandwritingError, UnknownName

State = Hashable
MOST_REPEATS = 200
CHECKSUMS = ("luhn",)
ALPHABETS = {
    "digits": string.digits,
    "letters": string.ascii_letters,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "hex": string.digits + "ABCDEFabcdef",
}


class ConstraintError(HandwritingError):
    """A constraint that cannot be understood or met."""


@dataclass(frozen=True)
class Constraint:
    """An automaton over texts: `start`, `step` (None: forbidden) and `accepts`; `literals` a pattern may ask for."""

    start: State
    step: Callable[[State, str], State | None]
    accepts: Callable[[State], bool]
    literals: frozenset[str] = frozenset()

    def allows(self, text: str) -> bool:
        """Whether a whole text keeps the constraint."""
        state: State | None = self.start
        for label in text:
            state = self.step(state, label)
            if state is None:
                return False
        return self.accepts(state)


def free() -> Constraint:
    """The constraint that allows every text."""
    return Constraint((), lambda state, _: state, lambda _: True)


def exactly(text: str) -> Constraint:
    """The constraint that allows this text alone."""

    def step(state: State, label: str) -> State | None:
        assert isinstance(state, int)  # noqa: S101 (the states are this function's own)
        return state + 1 if text[state : state + 1] == label else None

    return Constraint(0, step, lambda state: state == len(text))


def constraint(length: int | None, pattern: str | None, checksum: str | None) -> Constraint:
    """Options as `read` takes them -> all of them as one Constraint.

    Raises:
        ConstraintError: a length below 1, or a pattern that is not of the subset above.
        UnknownName: a checksum that is not known.
    """
    parts = []
    if length is not None:
        if length < 1:
            raise ConstraintError(f"length: {length}, must be at least 1")
        parts.append(of_length(length))
    if pattern is not None:
        parts.append(of_pattern(pattern))
    if checksum is not None:
        if checksum not in CHECKSUMS:
            raise UnknownName("checksum", checksum, CHECKSUMS)
        parts.append(of_luhn())
    if not parts:
        return free()
    return parts[0] if len(parts) == 1 else _all_of(parts)


def of_length(length: int) -> Constraint:
    """Texts of exactly so many characters; separators of a pattern count too."""

    def step(state: State, _: str) -> State | None:
        assert isinstance(state, int)  # noqa: S101 (the states are this function's own)
        return state + 1 if state < length else None

    return Constraint(0, step, lambda state: state == length)


def of_luhn() -> Constraint:
    """Texts whose digits, others skipped, are at least two and pass the Luhn check (ISO/IEC 7812-1, annex B).

    Which digits count double depends on the length, so both sums are carried: the last digit counts once.
    """

    def step(state: State, label: str) -> State | None:
        assert isinstance(state, tuple)  # noqa: S101
        if label not in string.digits:
            return state
        plain, doubled, count = state
        digit = int(label)
        return (doubled + digit) % 10, (plain + _twice(digit)) % 10, min(count + 1, 2)

    # ``plain``: the sum were this the last digit (counted once); ``doubled``: were one more to come.
    return Constraint((0, 0, 0), step, lambda state: isinstance(state, tuple) and state[0] == 0 and state[2] == 2)


def luhn_holds(text: str) -> bool:
    """Whether a text's digits pass the Luhn check."""
    return of_luhn().allows(text)


def of_pattern(pattern: str) -> Constraint:
    """A pattern of the module's subset -> Constraint. Raises ConstraintError, which names the place."""
    net = _Net()
    parser = _Parser(pattern, net)
    start, end = parser.alternatives()
    if parser.at < len(pattern):
        raise ConstraintError(
            f"pattern {_quoted(pattern)}: unexpected {_quoted(pattern[parser.at])} at place {parser.at + 1}"
        )
    literals = frozenset(sign for test, _ in net.moves.values() for sign in test.named)

    def step(state: State, label: str) -> State | None:
        assert isinstance(state, frozenset)  # noqa: S101
        after = {net.moves[place][1] for place in state if place in net.moves and net.moves[place][0].allows(label)}
        return net.closure(after) if after else None

    return Constraint(net.closure({start}), step, lambda state: isinstance(state, frozenset) and end in state, literals)


def matches(pattern: str, text: str) -> bool:
    """Whether a whole text is of a pattern. Raises ConstraintError for a pattern that is not understood."""
    return of_pattern(pattern).allows(text)


def alphabet_of(name: str | Iterable[str], classes: Sequence[str]) -> frozenset[str]:
    """An alphabet's name or its characters -> those of the model's classes that are in it. Raises ConstraintError."""
    chosen = ALPHABETS.get(name, name) if isinstance(name, str) else name
    allowed = frozenset(chosen) & frozenset(classes)
    if not allowed:
        raise ConstraintError(
            f"alphabet {name!r}: the model knows none of it, only {''.join(classes)!r}; "
            f"names: {', '.join(ALPHABETS)}, or give the characters themselves"
        )
    return allowed


def _all_of(parts: list[Constraint]) -> Constraint:
    def step(state: State, label: str) -> State | None:
        assert isinstance(state, tuple)  # noqa: S101
        after = tuple(part.step(own, label) for part, own in zip(parts, state, strict=True))
        return None if any(own is None for own in after) else after

    def accepts(state: State) -> bool:
        return isinstance(state, tuple) and all(p.accepts(own) for p, own in zip(parts, state, strict=True))

    return Constraint(tuple(p.start for p in parts), step, accepts, frozenset().union(*(p.literals for p in parts)))


def _twice(digit: int) -> int:
    return 2 * digit - 9 if digit > 4 else 2 * digit


@dataclass(frozen=True)
class _Test:
    """A set of characters, or all but those; ``named`` are the ones a pattern asks for by name."""

    signs: frozenset[str]
    inverted: bool = False

    @property
    def named(self) -> frozenset[str]:
        return frozenset() if self.inverted else self.signs

    def allows(self, label: str) -> bool:
        return (label in self.signs) != self.inverted


@dataclass
class _Net:
    """Thompson's construction (1968): places, moves on a character, free moves."""

    moves: dict[int, tuple[_Test, int]] = field(default_factory=dict)
    frees: dict[int, list[int]] = field(default_factory=dict)
    places: int = 0

    def place(self) -> int:
        self.places += 1
        if self.places > 20000:
            raise ConstraintError("pattern: too large once its repeats are written out; use smaller counts")
        return self.places

    def free(self, start: int, end: int) -> None:
        self.frees.setdefault(start, []).append(end)

    def closure(self, places: set[int]) -> frozenset[int]:
        found, rest = set(places), list(places)
        while rest:
            for place in self.frees.get(rest.pop(), []):
                if place not in found:
                    found.add(place)
                    rest.append(place)
        return frozenset(found)


class _Parser:
    """Recursive descent over the pattern; each method gives the first and last place of what it read."""

    def __init__(self, pattern: str, net: _Net) -> None:
        self.pattern, self.net, self.at = pattern, net, 0

    def alternatives(self) -> tuple[int, int]:
        start, end = self.net.place(), self.net.place()
        while True:
            first, last = self.sequence()
            self.net.free(start, first)
            self.net.free(last, end)
            if self.peek() != "|":
                return start, end
            self.at += 1

    def sequence(self) -> tuple[int, int]:
        start = end = self.net.place()
        while self.peek() not in ("", "|", ")"):
            begun = self.at
            first, last = self.atom()
            least, most = self.repeats()
            stop = self.at
            end = self.repeated(end, (first, last), (begun, stop), least, most)
        return start, end

    def repeated(self, end: int, read: tuple[int, int], span: tuple[int, int], least: int, most: int | None) -> int:
        """Joins so many copies of what was read, the further ones by reading their part of the pattern again."""
        copies = most if most is not None else max(least, 1)
        skips = []
        for number in range(copies):
            first, last = read if number == 0 else self.again(span)
            if number >= least:
                skips.append(end)
            self.net.free(end, first)
            if most is None and number == copies - 1:
                self.net.free(last, first)
            end = last
        out = self.net.place()
        for place in [end, *skips]:
            self.net.free(place, out)
        return out

    def again(self, span: tuple[int, int]) -> tuple[int, int]:
        kept, self.at = self.at, span[0]
        read = self.atom()
        self.at = kept
        return read

    def atom(self) -> tuple[int, int]:
        sign = self.peek()
        if sign == "(":
            self.at += 1
            read = self.alternatives()
            self.expect(")")
            return read
        if sign in ("*", "+", "?", "{"):
            self.fail(f"nothing to repeat before {sign!r}")
        self.at += 1
        if sign == "[":
            return self.single(self.a_set())
        if sign == ".":
            return self.single(_Test(frozenset(), inverted=True))
        return self.single(_Test(self.escaped() if sign == "\\" else frozenset(sign)))

    def single(self, test: _Test) -> tuple[int, int]:
        start, end = self.net.place(), self.net.place()
        if test == _Test(frozenset(" ")):
            self.net.free(start, end)
        else:
            self.net.moves[start] = (test, end)
        return start, end

    def escaped(self) -> frozenset[str]:
        sign = self.peek()
        if not sign:
            self.fail("a backslash with nothing after it")
        self.at += 1
        if sign == "d":
            return frozenset(string.digits)
        if sign == "w":
            return frozenset(string.ascii_letters + string.digits + "_")
        if sign.isalnum():
            self.fail(f"\\{sign} is not of the subset (\\d, \\w, or a sign)")
        return frozenset(sign)

    def a_set(self) -> _Test:
        inverted = self.peek() == "^"
        self.at += inverted
        signs: set[str] = set()
        while self.peek() != "]" or not signs:
            sign = self.peek()
            if not sign:
                self.fail("a set that is not closed by ]")
            self.at += 1
            if sign == "\\":
                signs |= self.escaped()
            elif self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
                last = self.pattern[self.at + 1]
                self.at += 2
                if ord(last) < ord(sign):
                    self.fail(f"the range {sign}-{last} runs backwards")
                signs |= {chr(code) for code in range(ord(sign), ord(last) + 1)}
            else:
                signs.add(sign)
        self.at += 1
        return _Test(frozenset(signs), inverted)

    def repeats(self) -> tuple[int, int | None]:
        sign = self.peek()
        simple: dict[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}
        if sign in simple:
            self.at += 1
            return simple[sign]
        if sign != "{":
            return 1, 1
        close = self.pattern.find("}", self.at)
        counts = self.pattern[self.at + 1 : close].split(",") if close > 0 else []
        good = 1 <= len(counts) <= 2 and counts[0].isdecimal() and (counts[-1].isdecimal() or counts[-1] == "")
        if not good:
            self.fail("a repeat must be {m}, {m,} or {m,n}")
        least = int(counts[0])
        most = None if counts[-1] == "" else int(counts[-1])
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < max(least, 1)):
            self.fail(f"a repeat must count up, from at least 1, to at most {MOST_REPEATS}")
        self.at = close + 1
        return least, most

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            self.fail(f"{sign!r} is missing")
        self.at += 1

    def fail(self, why: str) -> None:
        raise ConstraintError(f"pattern {_quoted(self.pattern)}: {why}, at place {self.at + 1}")


def _quoted(text: str) -> str:
    """What was typed, on one line, its backslashes single as they were."""
    return repr(text).replace("\\\\", "\\")
