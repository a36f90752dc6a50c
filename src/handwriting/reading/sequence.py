"""What the line network says of a line: which digit stands at each column of its ribbon, or none.

Answers are combined with cuts: the probability that the columns between two cuts spell exactly one given digit is a
sum over all alignments (Graves et al. 2006, "Connectionist temporal classification", section 4.1), here between two
cuts instead of over the whole line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handwriting.classifier import Classifier, document, quiet_session
from handwriting.reading.calibration import Calibration, calibration_from
from handwriting.reading.lattice import Array, Lattice
from handwriting.reading.lines import Strip
from handwriting.reading.pieces import Candidate, Cuts, inks
from handwriting.reading.ribbon import HEIGHT, RIM, Ribbon

NEVER = -1e3  # a log-probability
ASIDE = 2  # columns by which a cut may be off
NEAR_GAP = 4  # columns within which a gap parts two marks as well as a new cut would
# How much rarer marks that are no digits are on a page than in training, where they are one in ten: anywhere, and on a
# line that is mostly digits. Chosen on strangers' lines: a 4 with an open top looks like a u, and what is no digit is
# rejected afterwards.
STRANGE, STRANGE_AMONG = 0.05, 0.001
PASSED_INK = 6.0  # nats for a square height of ink that belongs to no digit; a digit has about a fifth of one
WORTH_A_LOOK = 5.0  # nats below the best way: candidates on no better one are not looked at alone
BATCH = 256  # windows looked at together: some 40 MB, whatever lies on the page


class LineModel:
    """The files of the line network and of the window network, ready to answer. Safe to use from several threads.

    Attributes:
        metadata: the line network's JSON document.
        calibration: of readings with both.
        trust: weight of the classifier's log-probabilities beside the line network's.
        trust_windows: weight of the window network's scores; all chosen on composed valid lines.
    """

    def __init__(self, lines: bytes, windows: bytes | None = None) -> None:
        """``windows``: the window network's file; without it there is none."""
        self._lines = quiet_session(lines, threads=1)  # a line is too little work to share
        self._windows = quiet_session(windows, waiting=False) if windows is not None else None  # once a page
        self.metadata: dict[str, Any] = document(self._lines)
        self.calibration: Calibration = calibration_from(self.metadata["reading"])
        self.trust = float(self.metadata["reading"]["trust"])
        self.trust_windows = float(self.metadata["reading"]["trust_windows"]) if windows is not None else 0.0

    def answers(self, ribbon: Ribbon) -> Array:
        """A ribbon -> each column's log-probabilities float64 (T, 2 + C): of no mark, each class, a mark that is none.

        Marks that are none are made as rare as they are on a page, and among digits (Saerens et al. 2002, "Adjusting
        the outputs of a classifier to new a priori probabilities").
        """
        inputs = ribbon.image[None].astype(np.float32) / np.float32(255)
        likely = np.exp(self._lines.run(["answers"], {"ribbons": inputs})[0][0].astype(np.float64))
        likely[:, -1] *= STRANGE
        if _mostly_digits(likely):
            likely[:, -1] *= STRANGE_AMONG / STRANGE
        return np.asarray(np.log(likely / likely.sum(1, keepdims=True)), np.float64)

    def suits(self, windows: NDArray[np.uint8]) -> Array:
        """Windows uint8 (n, 3, 44, 48) of candidates -> float64 (n, C): how well each digit suits it, in nats.

        Weighed by ``trust_windows`` already; 0 where there is no window network.
        """
        if self._windows is None:
            return np.zeros((len(windows), len(self.metadata["classes"])))
        said = [np.zeros((0, len(self.metadata["classes"])), np.float32)]
        for first in range(0, len(windows), BATCH):
            inputs = windows[first : first + BATCH].astype(np.float32) / np.float32(255)
            said.append(self._windows.run(["scores"], {"windows": inputs})[0])
        return self.trust_windows * np.concatenate(said).astype(np.float64)


def _mostly_digits(likely: Array) -> bool:
    """Whether more of the marks that the likeliest answers (T, 2 + C) spell are digits than are none."""
    best = likely.argmax(1)
    marks = best[np.flatnonzero(np.diff(best, prepend=0))]
    return bool(2 * np.count_nonzero(marks == likely.shape[1] - 1) < np.count_nonzero(marks))


@cache
def _shipped() -> LineModel:
    files = resources.files("handwriting.reading")
    return LineModel(*(files.joinpath(f"digits-{name}.onnx").read_bytes() for name in ("lines", "windows")))


def line_model(classifier: Classifier) -> LineModel | None:
    """The line network that reads what a classifier reads; None when there is none for its characters.

    It knows MNIST's digits, so it answers beside models trained on them; classes called 0 to 9 that were trained on a
    user's own folder may be anything.
    """
    data = classifier.metadata.get("data", {})
    if classifier.classes != tuple("0123456789") or not isinstance(data, dict):
        return None
    model = _shipped()
    return model if data.get("name") in model.metadata["beside"] else None


@dataclass(frozen=True)
class Spelled:
    """What the line network says of a line's n candidates for each of C digits.

    Attributes:
        labels: float64 (n, C): log-probability that its part of the line spells just this digit.
        over: float64 (n,): log-probability that its part of the line holds no digit.
        passed: float64 (pieces,): the same of each piece, less a price for its ink: all of a digit is to be in its box.
        worth: the candidates that lie on a good way, and that the two other networks are to be asked about.
    """

    labels: Array
    over: Array
    passed: Array
    worth: NDArray[np.int64]


def with_turns(strip: Strip, cuts: Cuts, answers: Array) -> tuple[Cuts, NDArray[np.int64]]:
    """A line, its cuts and what the network says of it -> the cuts, and where among the answers each lies (`bounds`).

    A straight cut is added wherever the network goes from one mark on to the next and there was neither a cut nor a gap
    nearby: two 1s that were written over each other leave no trace in the ink at which to cut.
    """
    at = bounds(cuts, strip, crossing(answers))
    new = np.setdiff1d(turns(answers), at)
    gaps = at[cuts.ink == 0]
    new = new[(np.abs(new[:, None] - gaps) > NEAR_GAP).all(1)]
    columns = np.rint((new - RIM) * strip.height / HEIGHT - 0.5).astype(np.int64)
    high, wide = strip.mask.shape
    inside = (columns > 0) & (columns < wide)
    new, columns = new[inside], columns[inside]
    places = np.searchsorted(at, new)
    ink = (strip.strength * strip.mask)[:, columns].sum(0)
    paths = np.insert(cuts.paths, places, np.repeat(columns[:, None], high, axis=1), axis=0)
    through = np.insert(cuts.ink, places, np.maximum(ink, 0.3))
    return Cuts(paths, through), np.insert(at, places, new)


def turns(answers: Array) -> NDArray[np.int64]:
    """Answers (T, 2 + C) -> the bounds (n,) between one mark and the next, where none is likeliest; rising."""
    best = answers.argmax(1)
    found = []
    for before, after in pairwise(np.flatnonzero(best > 0).tolist()):
        if after > before + 1:
            found.append(before + 1 + int(answers[before + 1 : after, 0].argmax()))
        elif best[after] != best[before]:
            found.append(after)
    return np.array(found, np.int64)


def spell(strip: Strip, cuts: Cuts, at: NDArray[np.int64], candidates: list[Candidate], answers: Array) -> Spelled:
    """A line, what `with_turns` gives, the candidates between the cuts, and what the network says -> Spelled."""
    start, end = (np.array([getattr(candidate, side) for candidate in candidates]) for side in ("start", "end"))
    spelled = one_digit(answers, at, int((at[end] - at[start]).max()))
    # A digit's run of equal answers is one digit: a cut through it must not make two.
    unbroken = np.log(np.maximum(1 - crossing(answers)[at], 1e-9))
    labels = spelled[start, at[end] - at[start]] + unbroken[start]
    passed = no_digit(answers, at)
    until = np.concatenate([[0.0], np.cumsum(passed)])
    passed = passed - PASSED_INK * inks(strip, cuts)
    worth = np.flatnonzero(on_ways(start, end, labels.max(1), passed) > -WORTH_A_LOOK)
    return Spelled(labels, until[end] - until[start], passed, worth)


def on_ways(start: NDArray[np.int64], end: NDArray[np.int64], scores: Array, passed: Array) -> Array:
    """Candidates (n,) from cut to cut with scores, scores of pieces passed over -> how far (n,), at most 0, the best
    way through each candidate lies below the best of all."""
    count = len(passed)
    ahead, behind = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    ahead[0] = behind[count] = 0.0
    for at in range(1, count + 1):
        own = end == at
        ahead[at] = max(ahead[at - 1] + passed[at - 1], (ahead[start[own]] + scores[own]).max(initial=-np.inf))
    for at in range(count - 1, -1, -1):
        own = start == at
        behind[at] = max(behind[at + 1] + passed[at], (behind[end[own]] + scores[own]).max(initial=-np.inf))
    return np.asarray(ahead[start] + scores + behind[end] - ahead[count], np.float64)


def weigh(
    strip: Strip,
    cuts: Cuts,
    candidates: list[Candidate],
    spelled: Spelled,
    probabilities: Array,
    character: Array,
    suits: Array,
    classes: tuple[str, ...],
    trust: float,
) -> Lattice:
    """A line spelled, and for the m candidates worth it the classifier's class probabilities (m, C) and score of being
    a character (m,), and what the window network says (m, C) -> Lattice."""
    labels, looks = np.full(spelled.labels.shape, -np.inf), np.zeros(len(candidates))
    labels[spelled.worth] = spelled.labels[spelled.worth] + trust * np.log(np.maximum(probabilities, 1e-6))
    places = labels.copy()
    labels[spelled.worth] += suits
    looks[spelled.worth] = character
    seen = np.where(np.isfinite(labels), labels, spelled.labels)
    each = np.exp(seen - seen.max(1, keepdims=True))
    whole = np.logaddexp.reduce(spelled.labels, axis=1)
    return Lattice(
        strip,
        cuts,
        candidates,
        classes,
        labels=labels,
        places=places,  # the window network learned what is written, by any cuts
        whole=whole,
        stroke=np.maximum(whole, spelled.over),
        sign=spelled.over,
        probabilities=each / each.sum(1, keepdims=True),
        character=looks,
        passed=spelled.passed,
    )


def bounds(cuts: Cuts, strip: Strip, run_on: Array) -> NDArray[np.int64]:
    """A line's cuts (n,), what `crossing` gives (T + 1, C) -> the answer (n,) where each begins, 0 to T, never falling.

    Where a cut passes the line's middle, or, up to ``ASIDE`` columns aside, where least of a digit runs across.
    """
    columns, high = len(run_on) - 1, strip.mask.shape[0]
    rows = np.clip(np.rint(strip.middle + strip.slope * cuts.paths.mean(1)), 0, high - 1).astype(np.int64)
    places = (cuts.paths[np.arange(len(rows)), rows] + 0.5) * HEIGHT / strip.height + RIM
    at = np.clip(np.rint(places), 0, columns).astype(np.int64)
    near = np.clip(at[:, None] + np.array(sorted(range(-ASIDE, ASIDE + 1), key=abs)), 0, columns)
    at = near[np.arange(len(at)), np.rint(20 * run_on.max(1)[near]).argmin(1)]
    at[0], at[-1] = 0, columns
    return np.maximum.accumulate(at)


def crossing(answers: Array) -> Array:
    """Answers (T, 2 + C) -> (T + 1, C): how surely each digit stands on both sides of a bound between two answers."""
    digits = np.exp(answers[:, 1:-1])
    ends = np.zeros((1, digits.shape[1]))
    return np.concatenate([ends, digits[1:] * digits[:-1], ends])


def one_digit(answers: Array, starts: NDArray[np.int64], longest: int) -> Array:
    """Answers (T, 2 + C), starts (S,) -> (S, longest + 1, C): log-probability that so many answers spell one digit."""
    count, classes = len(starts), answers.shape[1] - 2
    padded = np.concatenate([answers, np.full((longest, 2 + classes), NEVER)])
    before, within, after = np.zeros(count), np.full((count, classes), NEVER), np.full((count, classes), NEVER)
    found = np.full((count, longest + 1, classes), NEVER)
    for length in range(1, longest + 1):
        here = padded[starts + length - 1]
        nothing, digits = here[:, :1], here[:, 1:-1]
        after = np.logaddexp(after, within) + nothing
        within = np.logaddexp(within, before[:, None]) + digits
        before = before + nothing[:, 0]
        found[:, length] = np.logaddexp(within, after)
    return found


def no_digit(answers: Array, at: NDArray[np.int64]) -> Array:
    """Answers (T, 2 + C), bounds (n,) -> (n - 1,): log-probability that nothing between two bounds is a digit."""
    each = np.logaddexp(answers[:, 0], answers[:, -1])
    return np.diff(np.concatenate([[0.0], np.cumsum(each)])[at])
