"""How sure a reading is: calibrated probabilities of its characters and of its whole text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SURE = 0.98  # probability of a label that leaves no doubt
MOST_LEAD = 10.0


@dataclass(frozen=True)
class Calibration:
    """Logistic fits (Platt 1999) of how often readings of composed valid lines are right.

    Attributes:
        character: a, b, c of sigmoid(a + b * score of being one character + c * log-odds of its label).
        line: a, b, c of sigmoid(a + b * sum of log character probabilities + c * lead over the next best text).
        reject_below: probability, were its label sure, below which a character is rejected.
        least_looks: the classifier's own score of being one whole character below which it is rejected, too.
        run: both of these for characters that hang together, as means over the run: a cut through ink is never clean,
            but a letter cut into digits is bad all along.
    """

    character: tuple[float, ...]
    line: tuple[float, ...]
    reject_below: float
    least_looks: float
    run: tuple[float, float]

    def of_character(self, whole: float, label: float) -> float:
        """Score of being exactly one character, probability of its label -> probability that it is read right."""
        a, b, c = self.character
        return _sigmoid(a + b * whole + c * (math.log(max(label, 1e-6)) - math.log(max(1 - label, 1e-6))))

    def of_line(self, characters: Sequence[float], lead: float) -> float:
        """Characters' probabilities, lead of the best text over the next -> probability that the text is right."""
        a, b, c = self.line
        return _sigmoid(a + b * sum(math.log(max(p, 1e-6)) for p in characters) + c * min(lead, MOST_LEAD))

    def rejects(self, wholes: Sequence[float], looks: Sequence[float]) -> bool:
        """Scores of the characters that hang together, or of one that stands free -> whether they are none.

        Which one a character is may be in doubt all the same, and a constraint may have decided that.
        """
        below, least = (self.reject_below, self.least_looks) if len(wholes) == 1 else self.run
        sure = [self.of_character(whole, SURE) for whole in wholes]
        return sum(sure) < below * len(sure) or sum(looks) < least * len(looks)


def calibration_from(document: dict[str, Any]) -> Calibration:
    """What `tune_reading.py` writes -> Calibration."""
    return Calibration(
        tuple(document["character"]),
        tuple(document["line"]),
        float(document["reject_below"]),
        float(document["least_looks"]),
        (float(document["run"][0]), float(document["run"][1])),
    )


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(min(value, 40.0), -40.0)))
