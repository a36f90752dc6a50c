"""What a hand teaches: corrections fitted to samples, weakened until harmless, judged on what they did not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handwriting.classifier import Classifier, as_input, quiet_session
from handwriting.data import Dataset
from handwriting.learning.adapting import (
    FEATURES,
    Correction,
    Seen,
    fit_character,
    fit_correction,
    with_correction,
    with_features,
)
from handwriting.learning.cuts import bad_cuts

MOST_COST = 0.1  # percentage points of accuracy that the characters known before may lose
MOST_REJECTED = 0.5  # percentage points of them that may be rejected in addition
STRENGTHS = (1.0, 0.5, 0.25, 0.1)  # of a correction; the first whose cost is allowed is taken
FOLDS = 5
REPLAYED = 10_000  # characters; with 6,000 the model forgets about twice as much, more takes longer
CUTS = 3_000  # made of the replayed characters, and as many of those to be judged by
_BATCH = 1000
_MARGIN = 1e-3  # of the line, so that rounding moves no cut across it

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Memory:
    """What must not be forgotten, as the model sees it.

    Attributes:
        replay, cuts: characters and bad cuts that go into the fitting beside the samples.
        check, check_cuts: others of both kinds, to judge by; the cuts are None for a model without `character`.
        labels: int64 (N,), of `check`.
    """

    replay: Seen
    check: Seen
    labels: NDArray[np.int64]
    cuts: Seen | None
    check_cuts: Seen | None


@dataclass(frozen=True, eq=False)
class Learned:
    """What the samples taught about one output.

    Attributes:
        correction: from all samples, already weakened to `strength`.
        strength: one of `STRENGTHS`.
        held_out: float32 (N, C) or (N,), the corrected output for the samples, each by a correction that was fitted
            without its fold.
    """

    correction: Correction
    strength: float
    held_out: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Taught:
    """What the samples taught.

    Attributes:
        hand: what the model made of the samples.
        logits: which character it is.
        character: whether it is one; None when nothing is changed there.
        reject_at: the logit of `character` below which a picture is rejected.
    """

    hand: Seen
    memory: Memory
    logits: Learned
    character: Learned | None
    reject_at: float

    @property
    def learned(self) -> list[Learned]:
        """What there is of `logits` and `character`."""
        return [self.logits] if self.character is None else [self.logits, self.character]

    def applied(self, model: bytes) -> bytes:
        """The bytes of the model that was taught -> of the model that has learned."""
        for part in self.learned:
            model = with_correction(model, part.correction)
        return model

    def acceptance(self) -> dict[str, Any] | None:
        """The shares that are accepted as characters, before and after, in JSON types; None when nothing changes."""
        if self.character is None or self.memory.check_cuts is None:
            return None
        correction = self.character.correction

        def shares(seen: Seen, after: NDArray[np.float32]) -> dict[str, Any]:
            passed = accepted(seen, self.reject_at), int((after >= self.reject_at).sum())
            return {"n": len(seen), "before": passed[0] / len(seen), "after": passed[1] / len(seen)}

        return {
            "person": shares(self.hand, self.character.held_out),
            "known": shares(self.memory.check, correction(self.memory.check)),
            "cuts": shares(self.memory.check_cuts, correction(self.memory.check_cuts)),
            "strength": self.character.strength,
        }


def look(model: bytes, *parts: NDArray[np.uint8]) -> list[Seen]:
    """A model's bytes and some sets of images uint8 (N, 28, 28) -> what the model makes of each."""
    session = quiet_session(with_features(model))
    given = {output.name for output in session.get_outputs()}
    outputs = [name for name in ("logits", FEATURES, "character") if name in given]
    looked = []
    for images in parts:
        batches = [
            session.run(outputs, {"images": as_input(images[start : start + _BATCH])})
            for start in range(0, len(images), _BATCH)
        ]
        looked.append(Seen(*(np.concatenate(column) for column in zip(*batches, strict=True))))
    return looked


def remember(model: bytes, replay: Dataset, check: Dataset, generator: np.random.Generator) -> Memory:
    """A model's bytes, characters to replay (at most `REPLAYED` of them) and others to judge by -> Memory."""
    chosen = replay.images[np.sort(generator.permutation(len(replay))[:REPLAYED])]
    seen, judged = look(model, chosen, check.images)
    if seen.character is None:
        return Memory(seen, judged, check.labels, None, None)
    cuts, check_cuts = look(model, *(bad_cuts(images, CUTS, generator) for images in (chosen, check.images)))
    return Memory(seen, judged, check.labels, cuts, check_cuts)


def teach(
    hand: Seen, labels: NDArray[np.int64], memory: Memory, parent: Classifier, generator: np.random.Generator
) -> Taught:
    """What the model makes of samples, and their labels (N,) -> what they teach it."""
    fold = _folds(labels, generator)
    below = min(max(parent.reject_below, 1e-9), 1 - 1e-9)
    reject_at = float(np.log(below / (1 - below)))
    logits = learn(hand, labels, fold, memory, parent.temperature)
    return Taught(hand, memory, logits, learn_character(hand, fold, memory, reject_at), reject_at)


def learn(
    hand: Seen, labels: NDArray[np.int64], fold: NDArray[np.int64], memory: Memory, temperature: float
) -> Learned:
    """What the model makes of samples, their labels and folds (N,) -> the correction of its logits."""

    def fitted(rows: Rows) -> Correction:
        return fit_correction(hand.subset(rows), labels[rows], memory.replay, temperature)

    def harmless(correction: Correction) -> bool:
        return cost(memory.check.logits, correction(memory.check), memory.labels) <= MOST_COST

    whole = fitted(np.arange(len(labels)))
    strength = next((some for some in STRENGTHS if harmless(whole.scaled(some))), STRENGTHS[-1])
    return Learned(whole.scaled(strength), strength, _held_out(hand, fold, lambda rows: fitted(rows).scaled(strength)))


def learn_character(hand: Seen, fold: NDArray[np.int64], memory: Memory, reject_at: float) -> Learned | None:
    """What the model makes of samples, and their folds (N,) -> the correction of its verdict "one whole character".

    It is fitted to accept the samples; then its bias goes down until no more bad cuts are accepted than before.
    ``reject_at`` is the logit below which a picture is rejected.

    Returns:
        None for a model without that verdict; when it would accept no more of the held-out samples; and when at every
        strength it would reject more than `MOST_REJECTED` points of the check characters in addition.
    """
    cuts, check_cuts = memory.cuts, memory.check_cuts
    if cuts is None or check_cuts is None or accepted(hand, reject_at) == len(hand):
        return None
    allowed = accepted(check_cuts, reject_at)
    whole = fit_character(hand, memory.replay, cuts)
    for strength in STRENGTHS:
        scaled = whole.scaled(strength)
        # The best of the cuts that are to stay rejected comes to lie just below the line.
        best = np.sort(scaled(check_cuts))[::-1][allowed : allowed + 1].max(initial=-np.inf)
        shift = min(0.0, reject_at - _MARGIN - float(best))
        correction = scaled.shifted(shift)
        rejected = accepted(memory.check, reject_at) - int((correction(memory.check) >= reject_at).sum())
        if 100 * rejected > MOST_REJECTED * len(memory.check):
            continue

        def fitted(rows: Rows, strength: float = strength, shift: float = shift) -> Correction:
            return fit_character(hand.subset(rows), memory.replay, cuts).scaled(strength).shifted(shift)

        held_out = _held_out(hand, fold, fitted)
        better = int((held_out >= reject_at).sum()) > accepted(hand, reject_at)
        return Learned(correction, strength, held_out) if better else None
    return None


def accepted(seen: Seen, reject_at: float) -> int:
    """How many pictures a model accepts as characters; of a model without that verdict, none."""
    return 0 if seen.character is None else int((seen.character >= reject_at).sum())


def cost(before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Two sets of logits (N, C) -> the accuracy lost, in percentage points; counted, then divided once."""
    lost = int((before.argmax(1) == labels).sum()) - int((after.argmax(1) == labels).sum())
    return 100 * lost / len(labels)


def _folds(labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Labels (N,) -> the fold of each, in 0..FOLDS-1: every class is spread evenly, and the folds are of like size."""
    fold = np.empty(len(labels), np.int64)
    order = np.concatenate([generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def _held_out(hand: Seen, fold: NDArray[np.int64], fitted: Callable[[Rows], Correction]) -> NDArray[np.float32]:
    """The samples' corrected output, each fold's by ``fitted(rows of the others)``."""
    order = [np.flatnonzero(fold == number) for number in range(FOLDS)]
    parts = [fitted(np.flatnonzero(fold != number))(hand.subset(rows)) for number, rows in enumerate(order)]
    held_out = np.empty((len(hand), *parts[0].shape[1:]), np.float32)
    held_out[np.concatenate(order)] = np.concatenate(parts)
    return held_out
