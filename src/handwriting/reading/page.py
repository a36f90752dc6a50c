"""`read`: a picture of a page -> its lines, their characters, how sure each is, and where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from handwriting.classifier import Classifier, load
from handwriting.imaging import PictureLike, open_picture
from handwriting.reading.constraints import Constraint, alphabet_of, constraint
from handwriting.reading.lattice import Edge, Way, best_ways, label_edges
from handwriting.reading.lines import Strip, find_lines
from handwriting.reading.pieces import Candidate, Cuts, candidates, find_cuts
from handwriting.reading.scoring import Array, Weights, inputs, log_odds, weights
from handwriting.reading.separators import separator_edges
from handwriting.reading.sheet import Sheet, lay_out

Box = tuple[int, int, int, int]
SURE = 0.98  # probability of a label that leaves no doubt
# The classifier's own score of being one character; on valid fields 0.3% of the digits read rightly lie below, digits
# that do not touch. Composed fields hold nothing but digits, so what they fit cannot say how letters look.
LEAST_LOOKS = 0.5
LEAST_MARK = 0.35  # heights: ink that is passed over and smaller is not reported as a rejected character


@dataclass(frozen=True)
class Character:
    """One character, or a mark of a character's size that is none.

    Attributes:
        label: the most probable class.
        probability: that it is a character and of that class, calibrated on composed valid fields.
        box: (x, y, w, h) in the original picture's pixels.
        rejected: it looks like no character that the model knows; it is not in the line's text.
    """

    label: str
    probability: float
    box: Box
    rejected: bool = False


@dataclass(frozen=True)
class Line:
    """A line of writing.

    Attributes:
        text: the labels of its characters that are not rejected; "" when there is none, or no reading that the
            constraints allow.
        probability: that the whole text is right, calibrated on composed valid fields.
        box: (x, y, w, h) in the original picture's pixels.
        characters: from left to right, rejected ones among them.
    """

    text: str
    probability: float
    box: Box
    characters: tuple[Character, ...]


@dataclass(frozen=True)
class Page:
    """What a picture says: its lines from top to bottom; none on a blank page."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines' texts, a newline between them."""
        return "\n".join(line.text for line in self.lines)

    def as_json(self, image: str) -> dict[str, Any]:
        """The page in the form that `read --json` gives; ``image`` is the picture's name."""
        return {
            "image": image,
            "lines": [
                {
                    "text": line.text,
                    "probability": round(line.probability, 6),
                    "box": list(line.box),
                    "characters": [
                        {
                            "label": character.label,
                            "probability": round(character.probability, 6),
                            "box": list(character.box),
                            "rejected": character.rejected,
                        }
                        for character in line.characters
                    ],
                }
                for line in self.lines
            ],
        }


@overload
def read(
    pictures: PictureLike,
    *,
    model: str | Classifier = ...,
    length: int | None = ...,
    pattern: str | None = ...,
    checksum: str | None = ...,
    alphabet: str | None = ...,
) -> Page: ...
@overload
def read(
    pictures: list[PictureLike],
    *,
    model: str | Classifier = ...,
    length: int | None = ...,
    pattern: str | None = ...,
    checksum: str | None = ...,
    alphabet: str | None = ...,
) -> list[Page]: ...
def read(
    pictures: Any,
    *,
    model: str | Classifier = "digits",
    length: int | None = None,
    pattern: str | None = None,
    checksum: str | None = None,
    alphabet: str | None = None,
) -> Page | list[Page]:
    r"""A picture of writing -> its Page; a list of pictures -> a list of Pages.

    Args:
        pictures: path, encoded bytes, open file, PIL image or array, of any size, dark on light or light on dark.
        model: a shipped model's name, a file, or a Classifier (loaded once, used for many pages).
        length: every line has so many characters.
        pattern: every line's text is of this form, for example ``\d{2}/\d{2}``; see `handwriting.reading.constraints`
            for the signs. Signs that the model does not know (``/ - . , :``) are found by their shape.
        checksum: "luhn": every line's digits pass the Luhn check.
        alphabet: the characters that occur: a name (digits, letters, upper, lower, hex) or the characters themselves.

    A line that the constraints do not allow to be read at all has an empty text and rejected characters.

    Raises:
        PictureError: a picture that cannot be read.
        ConstraintError: a length, pattern or alphabet that makes no sense. UnknownName: a checksum not known.
        ModelError: a model that is missing or not ours.
    """
    rule = constraint(length, pattern, checksum)
    classifier = model if isinstance(model, Classifier) else load(model)
    allowed = alphabet_of(alphabet, classifier.classes) if alphabet is not None else frozenset(classifier.classes)
    if isinstance(pictures, list | tuple):
        return [_read_page(picture, classifier, rule, allowed) for picture in pictures]
    return _read_page(pictures, classifier, rule, allowed)


def _read_page(picture: PictureLike, classifier: Classifier, rule: Constraint, allowed: frozenset[str]) -> Page:
    sheet = lay_out(open_picture(picture))
    strips = find_lines(sheet)
    cuts = [find_cuts(strip) for strip in strips]
    found = [candidates(strip, own) for strip, own in zip(strips, cuts, strict=True)]
    images = [candidate.image for own in found for candidate in own]
    if not images:
        return Page(())
    scores = classifier.scores(np.stack(images))
    probabilities, character = scores.probabilities.astype(np.float64), scores.character.astype(np.float64)
    lines, start = [], 0
    for strip, own_cuts, own in zip(strips, cuts, found, strict=True):
        part = slice(start, start + len(own))
        start += len(own)
        if own:
            lattice = Lattice(own_cuts, own, probabilities[part], character[part], classifier.classes, strip)
            line = read_line(sheet, lattice, rule, allowed, weights())
            if line is not None:
                lines.append(line)
    return Page(tuple(lines))


@dataclass(frozen=True)
class Lattice:
    """A line's cuts and candidates, and what the classifier says of them: probabilities (n, C), character (n,)."""

    cuts: Cuts
    candidates: list[Candidate]
    probabilities: Array
    character: Array
    classes: tuple[str, ...]
    strip: Strip

    def whole(self, fitted: Weights) -> Array:
        """Log-odds (n,) that each candidate is exactly one character."""
        geometry = np.stack([candidate.features for candidate in self.candidates])
        return log_odds(inputs(geometry, self.probabilities, self.character, self.classes), fitted)


def ways(
    lattice: Lattice, whole: Array, rule: Constraint, allowed: frozenset[str], fitted: Weights
) -> tuple[list[Way], list[Edge]]:
    """A line's lattice -> its best readings under the constraint, at most two, and the edges passed over."""
    spans = [(candidate.start, candidate.end) for candidate in lattice.candidates]
    edges = label_edges(spans, whole, np.log(np.maximum(lattice.probabilities, 1e-9)), lattice.classes, allowed)
    edges += separator_edges(lattice.candidates, whole, rule.literals - frozenset(lattice.classes))
    skips = skip_edges(lattice, fitted)
    return best_ways(len(lattice.cuts.paths) - 1, edges + skips, rule), skips


def skip_edges(lattice: Lattice, fitted: Weights) -> list[Edge]:
    """An edge for each piece that passes it over: dearer the more ink it has, free where there is none."""
    skips = []
    paths, mask = lattice.cuts.paths, lattice.strip.mask
    sums = np.concatenate([np.zeros((len(mask), 1), np.int64), np.cumsum(mask, axis=1, dtype=np.int64)], axis=1)
    rows = np.arange(len(mask))
    before = np.array([int(sums[rows, path].sum()) for path in paths])
    for piece, pixels in enumerate(np.diff(before)):
        ink = max(float(pixels), 0.0) / lattice.strip.height**2
        price = fitted.passed_over[0] * min(1.0, ink / 0.02) + fitted.passed_over[1] * ink
        skips.append(Edge(piece, piece + 1, None, -price, -1))
    return skips


def read_line(
    sheet: Sheet, lattice: Lattice, rule: Constraint, allowed: frozenset[str], fitted: Weights
) -> Line | None:
    """A line's lattice -> the Line, or None when it holds nothing of a character's size."""
    whole = lattice.whole(fitted)
    best, skips = ways(lattice, whole, rule, allowed, fitted)
    edges = best[0].edges if best else tuple(skips)
    characters: list[Character] = []
    passed: list[Edge] = []
    for edge in (*edges, None):
        if edge is not None and edge.label is None:
            passed.append(edge)
            continue
        mark = _mark(sheet, lattice, whole, passed) if passed else None
        passed = []
        characters += [mark] if mark is not None else []
        if edge is not None and edge.label is not None:
            characters.append(_character(sheet, lattice, whole, edge, fitted))
    if not characters:
        return None
    kept = [character for character in characters if not character.rejected]
    text = "".join(character.label for character in kept)
    lead = best[0].score - best[1].score if len(best) > 1 else 10.0
    sure = line_probability([character.probability for character in kept], lead, fitted) if kept else 0.0
    if best and not rule.allows(text):  # a character that the constraint needs was rejected
        text, sure = "", 0.0
    return Line(text, sure, _around([character.box for character in kept or characters]), tuple(characters))


def character_probability(whole: float, label: float, fitted: Weights) -> float:
    """Log-odds of a whole character, probability of its label -> calibrated probability that it is read right."""
    a, b, c = fitted.character
    doubt = math.log(max(label, 1e-6)) - math.log(max(1 - label, 1e-6))
    return _sigmoid(a + b * whole + c * doubt)


def line_probability(characters: Sequence[float], lead: float, fitted: Weights) -> float:
    """Characters' probabilities, lead of the best text over the next -> probability that the text is right."""
    a, b, c = fitted.line
    return _sigmoid(a + b * sum(math.log(max(p, 1e-6)) for p in characters) + c * min(lead, 10.0))


def _character(sheet: Sheet, lattice: Lattice, whole: Array, edge: Edge, fitted: Weights) -> Character:
    assert edge.label is not None  # noqa: S101 (the caller passes characters only)
    candidate = lattice.candidates[edge.candidate]
    box = _box(sheet, lattice, candidate)
    if edge.label not in lattice.classes:  # a separator that the pattern asks for, found by its shape
        return Character(edge.label, _sigmoid(edge.score), box)
    label = float(lattice.probabilities[edge.candidate, lattice.classes.index(edge.label)])
    probability = character_probability(float(whole[edge.candidate]), label, fitted)
    # Rejected is what is no character; which one it is may be in doubt, and a constraint may have decided that.
    known = character_probability(float(whole[edge.candidate]), SURE, fitted)
    looks = float(lattice.character[edge.candidate])
    return Character(edge.label, probability, box, known < fitted.reject_below or looks < LEAST_LOOKS)


def _mark(sheet: Sheet, lattice: Lattice, whole: Array, passed: Sequence[Edge]) -> Character | None:
    """Pieces passed over in a row -> the likeliest character in them, rejected; None when they are but specks."""
    start, end = passed[0].start, passed[-1].end
    inside = [
        number
        for number, candidate in enumerate(lattice.candidates)
        if start <= candidate.start
        and candidate.end <= end
        and max(candidate.box[2:]) >= LEAST_MARK * lattice.strip.height
    ]
    if not inside:
        return None
    widest = max(inside, key=lambda number: lattice.candidates[number].end - lattice.candidates[number].start)
    row = lattice.probabilities[widest]
    column = int(row.argmax())
    probability = float(row[column]) * _sigmoid(float(whole[widest]))
    box = _box(sheet, lattice, lattice.candidates[widest])
    return Character(lattice.classes[column], probability, box, rejected=True)


def _box(sheet: Sheet, lattice: Lattice, candidate: Candidate) -> Box:
    """A candidate's ink -> the box around it in the original picture."""
    x, y, w, h = candidate.box
    place = lattice.strip.mask[y : y + h, x : x + w] > 0
    columns = np.arange(x, x + w)
    left, right = lattice.cuts.paths[candidate.start], lattice.cuts.paths[candidate.end]
    own = place & (columns >= left[y : y + h, None]) & (columns < right[y : y + h, None])
    ys, xs = np.nonzero(own)
    corner_x, corner_y = lattice.strip.corner
    return sheet.box(xs + x + corner_x, ys + y + corner_y)


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(min(value, 40.0), -40.0)))
