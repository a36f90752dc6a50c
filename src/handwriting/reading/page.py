"""`read`: a picture of a page -> its lines, their characters, how sure each is, and where they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from handwriting.classifier import Classifier, load
from handwriting.imaging import PictureLike, open_picture
from handwriting.reading.calibration import MOST_LEAD, SEVERAL, Calibration, Mark
from handwriting.reading.constraints import Constraint, alphabet_of, constraint, exactly
from handwriting.reading.lattice import Array, Edge, Lattice, Way, best_ways, label_edges, passing_edges
from handwriting.reading.lines import Strip, find_lines
from handwriting.reading.pieces import Candidate, candidates, find_cuts
from handwriting.reading.results import Box, Character, Line, Page
from handwriting.reading.ribbon import ribbon
from handwriting.reading.scoring import weigh as weigh_pieces
from handwriting.reading.scoring import weights
from handwriting.reading.separators import separator_edges
from handwriting.reading.sequence import LineModel, line_model, spell, with_turns
from handwriting.reading.sequence import weigh as weigh_line
from handwriting.reading.sheet import Sheet, lay_out
from handwriting.reading.turning import read_upright
from handwriting.reading.windows import windows

SEPARATOR = 0.9  # probability of a sign that the pattern asks for where something of its shape stands
LEAST_MARK = 0.35  # heights: ink that is passed over and smaller is not reported as a rejected character
SURELY_WRITTEN = 0.8  # probability of each line where the sheet that was found has none
# A line of at least so many marks of which more than such a share are no characters is words: fewer than `SEVERAL` in a
# row are an o or an s in them.
WORDS_LEAST, WORDS_SHARE = 6, 0.5
# Of lines of fewer marks: how many make litter, where at most such a share of all lines has a text; and how much taller
# than litter writing must be, at the least, to be none of it.
LITTER, LITTER_READ, LITTER_HEIGHT = 12, 0.3, 2.5


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
    return read_upright(open_picture(picture), lambda seen: _read_opened(seen, classifier, rule, allowed))


def _read_opened(opened: NDArray[np.uint8], classifier: Classifier, rule: Constraint, allowed: frozenset[str]) -> Page:
    sheet = lay_out(opened)
    page = _read_sheet(sheet, classifier, rule, allowed)
    if sheet.past_it and not any(line.text for line in page.lines):
        # Nothing is written on it: it may be the lightest part of a folded sheet. A table gives few digits, in doubt.
        whole = _read_sheet(lay_out(opened, all_of_it=True), classifier, rule, allowed)
        if len(whole.text) > 1 and all(line.probability > SURELY_WRITTEN for line in whole.lines):
            return whole
    return page


def _read_sheet(sheet: Sheet, classifier: Classifier, rule: Constraint, allowed: frozenset[str]) -> Page:
    model = line_model(classifier)
    calibration = model.calibration if model else weights().calibration
    lattices = lattices_of(sheet, classifier, model)
    found = [read_line(sheet, lattice, rule, allowed, calibration) for lattice in lattices]
    lines = [line for line in found if line is not None]
    # Where a constraint asks for something, lines without a text may be writing that does not keep it.
    return Page(tuple(_without_litter(lines) if rule.allows("") else lines))


def _without_litter(lines: list[Line]) -> list[Line]:
    """A page's lines -> the same, those rejected that are litter: of a pale grid's bits, seen by the hundred on a sheet
    in poor light, one here and there looks like a digit. They stand alone or nearly so; what is much taller is none.
    """
    small = [len(line.characters) < WORDS_LEAST and len(line.text) < SEVERAL for line in lines]
    if sum(small) < LITTER or sum(bool(line.text) for line in lines) > LITTER_READ * len(lines):
        return lines
    most = LITTER_HEIGHT * float(np.median([line.box[3] for line, alone in zip(lines, small, strict=True) if alone]))
    return [
        _all_rejected(line) if alone and line.box[3] <= most else line for line, alone in zip(lines, small, strict=True)
    ]


def _all_rejected(line: Line) -> Line:
    characters = tuple(replace(character, rejected=True) for character in line.characters)
    return replace(line, text="", probability=0.0, characters=characters)


def lattices_of(sheet: Sheet, classifier: Classifier, model: LineModel | None) -> list[Lattice]:
    """A sheet -> the lattice of each line of it, from top to bottom; with a line model, it spells the lines."""
    found, spelled = [], []
    strips = find_lines(sheet)
    said = _answers(sheet, strips, model) if model is not None else [None] * len(strips)
    for strip, answers in zip(strips, said, strict=True):
        own = find_cuts(strip)
        if answers is not None:
            own, at = with_turns(strip, own, answers)
        if pieces := candidates(strip, own):
            found.append((strip, own, pieces))
            spelled.append(spell(strip, own, at, pieces, answers) if answers is not None else None)
    asked = [
        np.arange(len(pieces)) if spelling is None else spelling.worth
        for (_, _, pieces), spelling in zip(found, spelled, strict=True)
    ]
    images = [pieces[number].image() for (_, _, pieces), own in zip(found, asked, strict=True) for number in own]
    if not images:
        return []
    scores = classifier.scores(np.stack(images))
    probabilities, character = scores.probabilities.astype(np.float64), scores.character.astype(np.float64)
    suits = np.zeros_like(probabilities)
    if model is not None:
        each = [
            windows(sheet, strip, own, [pieces[number] for number in which])
            for (strip, own, pieces), which in zip(found, asked, strict=True)
        ]
        suits = model.suits(np.concatenate(each))
    ends = np.cumsum([len(own) for own in asked])[:-1]
    lattices = []
    for (strip, own, pieces), spelling, which, looks, suit in zip(
        found, spelled, *(np.split(said, ends) for said in (probabilities, character, suits)), strict=True
    ):
        if spelling is None or model is None:
            lattices.append(weigh_pieces(strip, own, pieces, which, looks, classifier.classes, weights()))
        else:
            lattices.append(
                weigh_line(strip, own, pieces, spelling, which, looks, suit, classifier.classes, model.trust)
            )
    return lattices


def _answers(sheet: Sheet, strips: Sequence[Strip], model: LineModel) -> list[Array]:
    """What the line network says of each line; lines are shared out to the processor's cores."""
    ribbons = [ribbon(sheet, strip) for strip in strips]
    if len(ribbons) < 2:
        return [model.answers(own) for own in ribbons]
    with ThreadPoolExecutor(min(len(ribbons), 8, os.cpu_count() or 1)) as pool:
        return list(pool.map(model.answers, ribbons))


def ways(lattice: Lattice, rule: Constraint, allowed: frozenset[str]) -> list[Way]:
    """A line's lattice -> its best readings under the constraint, at most two; the first has its marks in place."""
    edges = label_edges(lattice, allowed) + passing_edges(lattice)
    edges += separator_edges(lattice, rule.literals - frozenset(lattice.classes))
    best = best_ways(len(lattice.passed), edges, rule)
    if best and lattice.places is not lattice.labels:
        best[0] = replace(best[0], edges=_placed(lattice, edges, best[0]))
    return best


def _placed(lattice: Lattice, edges: Sequence[Edge], best: Way) -> tuple[Edge, ...]:
    """A line's lattice, its edges and its best way -> the way of the same text that is best by `Lattice.places`."""
    column = {label: number for number, label in enumerate(lattice.classes)}
    placing = [
        replace(edge, score=float(lattice.places[edge.candidate, column[edge.label]])) if edge.label in column else edge
        for edge in edges
        if edge.label is None or edge.label in best.text
    ]
    placed = best_ways(len(lattice.passed), placing, exactly(best.text), keep=1)
    return placed[0].edges if placed else best.edges  # none: a text longer than the search holds states for


def read_line(
    sheet: Sheet, lattice: Lattice, rule: Constraint, allowed: frozenset[str], calibration: Calibration
) -> Line | None:
    """A line's lattice -> the Line, or None when it holds nothing of a character's size."""
    best = ways(lattice, rule, allowed)
    edges = best[0].edges if best else tuple(passing_edges(lattice))
    rejected = _rejected(lattice, edges, calibration)
    characters: list[Character] = []
    passed: list[Edge] = []
    for edge in (*edges, None):
        if edge is not None and edge.label is None:
            passed.append(edge)
            continue
        mark = _mark(sheet, lattice, passed, calibration) if passed else None
        passed = []
        characters += [mark] if mark is not None else []
        if edge is not None and edge.label is not None:
            characters.append(_character(sheet, lattice, edge, calibration, edge.candidate in rejected))
    if not characters:
        return None
    characters = _without_look_alikes(characters)
    kept = [character for character in characters if not character.rejected]
    text = "".join(character.label for character in kept)
    lead = best[0].score - best[1].score if len(best) > 1 else MOST_LEAD
    sure = calibration.of_line([character.probability for character in kept], lead) if kept else 0.0
    if best and not rule.allows(text):  # a character that the constraint needs was rejected
        text, sure = "", 0.0
    return Line(text, sure, _around([character.box for character in kept or characters]), tuple(characters))


def _without_look_alikes(characters: list[Character]) -> list[Character]:
    """A line's characters -> the same, those rejected too that stand in words."""
    none = sum(character.rejected for character in characters)
    if len(characters) < WORDS_LEAST or none <= WORDS_SHARE * len(characters):
        return characters
    kept: list[Character] = []
    for rejected, own in groupby(characters, key=lambda character: character.rejected):
        row = list(own)
        alike = not rejected and len(row) < SEVERAL
        kept += [replace(character, rejected=True) for character in row] if alike else row
    return kept


def _rejected(lattice: Lattice, edges: Sequence[Edge], calibration: Calibration) -> set[int]:
    """The best way's edges -> the candidates that are no characters: judged together where they hang together."""
    runs = runs_of(lattice, edges)
    verdict = calibration.verdict.rejects([[mark_of(lattice, edge) for edge in run] for run in runs])
    return {edge.candidate for run, rejected in zip(runs, verdict, strict=True) if rejected for edge in run}


def runs_of(lattice: Lattice, edges: Sequence[Edge]) -> list[list[Edge]]:
    """A way's edges -> those of its characters, the ones that hang together together."""
    runs: list[list[Edge]] = []
    end = -1
    for edge in edges:
        if edge.label in lattice.classes:
            if edge.start != end or lattice.cuts.ink[edge.start] == 0:
                runs.append([])
            runs[-1].append(edge)
            end = edge.end
    return runs


def mark_of(lattice: Lattice, edge: Edge) -> Mark:
    """A character's edge -> what is known of it."""
    own = edge.candidate
    return Mark(float(lattice.whole[own]), float(lattice.character[own]), float(lattice.probabilities[own].max()))


def _character(sheet: Sheet, lattice: Lattice, edge: Edge, calibration: Calibration, rejected: bool) -> Character:
    assert edge.label is not None  # noqa: S101 (the caller passes characters only)
    box = _box(sheet, lattice, lattice.candidates[edge.candidate])
    if edge.label not in lattice.classes:  # a separator that the pattern asks for, found by its shape
        return Character(edge.label, SEPARATOR, box)
    label = float(lattice.probabilities[edge.candidate, lattice.classes.index(edge.label)])
    return Character(edge.label, calibration.of_character(float(lattice.whole[edge.candidate]), label), box, rejected)


def _mark(sheet: Sheet, lattice: Lattice, passed: Sequence[Edge], calibration: Calibration) -> Character | None:
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
    column = int(lattice.probabilities[widest].argmax())
    probability = calibration.of_character(float(lattice.whole[widest]), float(lattice.probabilities[widest, column]))
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
