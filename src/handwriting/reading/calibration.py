"""How sure a reading is: calibrated probabilities of its characters and its text; and which marks are no characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SURE = 0.98  # probability of a label that leaves no doubt
MOST_LEAD = 10.0
SEVERAL = 3  # marks that hang together: no letter is cut in so many that look like digits
MOST_EVIDENCE, MOST_COMPANY = 12.0, 4.0  # log-odds: one number is never all that counts


@dataclass(frozen=True)
class Mark:
    """What is known of a character that was read.

    Attributes:
        whole: score of being exactly one character, whichever.
        looks: the classifier's own probability that it is one whole character.
        label: probability of its likeliest class, were it one of them; a constraint may have chosen another, which says
            nothing of what it is.
    """

    whole: float
    looks: float
    label: float


Run = Sequence[
    Mark
]  # characters that hang together: a cut through ink is never clean, a letter cut up is bad all along


@dataclass(frozen=True)
class Thresholds:
    """Each run by itself: no mean over it may lie below a threshold. For classifiers of any kind.

    Attributes:
        character: as of `Calibration`.
        alone: least probability, were its label sure, and least look of a character that stands free.
        joined: the same of those that hang together.
    """

    character: tuple[float, ...]
    alone: tuple[float, float]
    joined: tuple[float, float]

    def rejects(self, runs: Sequence[Run]) -> list[bool]:
        """A line's runs -> which of them are no characters."""
        return [self._rejects(run) for run in runs]

    def _rejects(self, run: Run) -> bool:
        below, least = self.alone if len(run) == 1 else self.joined
        sure = _mean([_right(self.character, mark.whole, SURE) for mark in run])
        return sure < below or _mean([mark.looks for mark in run]) < least


@dataclass(frozen=True)
class Company:
    """All that is known of a run, weighed by a logistic fit, and of what stands beside it: digits keep to digits.

    Attributes:
        alone: a, b, c, d of a + b * score of being one character + c * log-odds of the look + d * of the label: the
            log-odds that what stands free is a character.
        joined: the same of those that hang together, with means over the run.
        share: of the other runs' mean log-odds, added.
        least: log-odds below which a run is rejected on a line that `vouches`.
        least_alone: the same on one that does not: what is read there may be a letter, whole or cut in two.
    """

    alone: tuple[float, ...]
    joined: tuple[float, ...]
    share: float
    least: float
    least_alone: float

    def rejects(self, runs: Sequence[Run]) -> list[bool]:
        """A line's runs -> which of them are no characters."""
        own = [self.log_odds(run) for run in runs]
        bounded = [max(min(odds, MOST_COMPANY), -MOST_COMPANY) for odds in own]
        others = [_mean(bounded[:at] + bounded[at + 1 :]) for at in range(len(runs))]
        least = self.least if vouches(runs) else self.least_alone
        return [odds + self.share * beside < least for odds, beside in zip(own, others, strict=True)]

    def log_odds(self, run: Run) -> float:
        """A run by itself -> log-odds that it is made of characters."""
        weights = self.alone if len(run) == 1 else self.joined
        return weights[0] + sum(weight * value for weight, value in zip(weights[1:], evidence(run), strict=True))


def vouches(runs: Sequence[Run]) -> bool:
    """Whether a line's runs vouch for each other: there are several, or the one there is has several marks."""
    return len(runs) > 1 or sum(map(len, runs)) >= SEVERAL


def evidence(run: Run) -> tuple[float, float, float]:
    """A run -> means of its scores of being one character, and of the log-odds of its looks and of its labels."""
    values = zip(*((mark.whole, log_odds_of(mark.looks), log_odds_of(mark.label)) for mark in run), strict=True)
    whole, looks, label = (max(min(_mean(own), MOST_EVIDENCE), -MOST_EVIDENCE) for own in values)
    return whole, looks, label


@dataclass(frozen=True)
class Calibration:
    """Logistic fits (Platt 1999) of how often readings of composed valid lines are right.

    Attributes:
        character: a, b, c of sigmoid(a + b * score of being one character + c * log-odds of its label).
        line: a, b, c of sigmoid(a + b * sum of log character probabilities + c * lead over the next best text).
        verdict: which characters are rejected. Which one a character is may be in doubt all the same, and a constraint
            may have decided that.
    """

    character: tuple[float, ...]
    line: tuple[float, ...]
    verdict: Thresholds | Company

    def of_character(self, whole: float, label: float) -> float:
        """Score of being exactly one character, probability of its label -> probability that it is read right."""
        return _right(self.character, whole, label)

    def of_line(self, characters: Sequence[float], lead: float) -> float:
        """Characters' probabilities, lead of the best text over the next -> probability that the text is right."""
        a, b, c = self.line
        return _sigmoid(a + b * sum(math.log(max(p, 1e-6)) for p in characters) + c * min(lead, MOST_LEAD))


def calibration_from(document: dict[str, Any]) -> Calibration:
    """What `tune_reading.py` writes -> Calibration."""
    character, line = tuple(document["character"]), tuple(document["line"])
    if "company" in document:
        fitted = document["company"]
        numbers = (float(fitted[name]) for name in ("share", "least", "least_alone"))
        verdict = Company(tuple(fitted["alone"]), tuple(fitted["joined"]), *numbers)
        return Calibration(character, line, verdict)
    alone, joined = (document["reject_below"], document["least_looks"]), document["run"]
    return Calibration(
        character,
        line,
        Thresholds(character, (float(alone[0]), float(alone[1])), (float(joined[0]), float(joined[1]))),
    )


def _right(character: tuple[float, ...], whole: float, label: float) -> float:
    a, b, c = character
    return _sigmoid(a + b * whole + c * log_odds_of(label))


def log_odds_of(probability: float) -> float:
    """A probability -> its log-odds, within those of a millionth."""
    return math.log(max(probability, 1e-6)) - math.log(max(1 - probability, 1e-6))


def _mean(values: Sequence[float]) -> float:
    """The mean; 0 of none."""
    return sum(values) / max(len(values), 1)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(min(value, 40.0), -40.0)))
