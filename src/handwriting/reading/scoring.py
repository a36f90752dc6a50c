"""Candidates and what the classifier says of each -> a lattice, scored by log-odds of being exactly one character.

A small network (two hidden layers) over geometry and the classifier's outputs, fitted on fields composed from MNIST
valid digits by ``benchmarks/tune_reading.py``, which writes ``weights.json``. It knows, for one, how wide a 1 is.
Lines of digits are read by `handwriting.reading.sequence`, which sees them uncut; this is for all other classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from handwriting.reading.calibration import Calibration, calibration_from
from handwriting.reading.lattice import Array, Lattice
from handwriting.reading.lines import Strip
from handwriting.reading.pieces import Candidate, Cuts, features, inks

# What the classes mean to the network: only digits have a usual shape; a model of other classes leaves these at 0.
SHAPES = "0123456789"


SIGN = 3.0  # score of a candidate that is shaped like a sign asked for, in log-odds


@dataclass(frozen=True)
class Weights:
    """The fitted numbers.

    Attributes:
        layers: (matrix, bias) of each layer; inputs are standardised by ``mean`` and ``scale`` first.
        passed_over: log-odds lost for a piece of ink that belongs to no character, and per square height of its ink.
        calibration: of the readings.
    """

    mean: Array
    scale: Array
    layers: tuple[tuple[Array, Array], ...]
    passed_over: tuple[float, float]
    calibration: Calibration


@cache
def weights() -> Weights:
    """The weights that come with the package."""
    text = resources.files("handwriting.reading").joinpath("weights.json").read_text(encoding="utf-8")
    return from_json(json.loads(text))


def from_json(document: dict[str, Any]) -> Weights:
    """The document that `tune_reading.py` writes -> Weights."""
    return Weights(
        np.array(document["mean"]),
        np.array(document["scale"]),
        tuple((np.array(layer["matrix"]), np.array(layer["bias"])) for layer in document["layers"]),
        (document["passed_over"][0], document["passed_over"][1]),
        calibration_from(document),
    )


def weigh(
    strip: Strip,
    cuts: Cuts,
    candidates: list[Candidate],
    probabilities: Array,
    character: Array,
    classes: tuple[str, ...],
    fitted: Weights,
) -> Lattice:
    """Candidates (n) with class probabilities (n, C) and the score of being a character (n,) -> Lattice."""
    geometry = np.stack([features(strip, cuts, candidate) for candidate in candidates])
    whole = log_odds(inputs(geometry, probabilities, character, classes), fitted)
    labels = whole[:, None] + np.log(np.maximum(probabilities, 1e-9))
    return Lattice(
        strip,
        cuts,
        candidates,
        classes,
        labels=labels,
        places=labels,
        whole=whole,
        stroke=np.maximum(whole, 0.0),
        sign=np.full(len(candidates), SIGN),
        probabilities=probabilities,
        character=character,
        passed=passing(strip, cuts, fitted.passed_over),
    )


def passing(strip: Strip, cuts: Cuts, prices: tuple[float, float]) -> Array:
    """A score for each piece passed over: dearer the more ink it has, free where there is none."""
    ink = inks(strip, cuts)
    return -(prices[0] * np.minimum(1.0, ink / 0.02) + prices[1] * ink)


def inputs(geometry: Array, probabilities: Array, character: Array, classes: tuple[str, ...]) -> Array:
    """Of n candidates geometry (n, g), class probabilities (n, C), character (n,) -> network inputs (n, g + 13)."""
    clipped = np.clip(character, 1e-5, 1 - 1e-5)
    best = np.log(np.maximum(probabilities.max(1), 1e-4))
    doubt = -(probabilities * np.log(np.maximum(probabilities, 1e-9))).sum(1)
    shapes = np.zeros((len(geometry), len(SHAPES)))
    for column, name in enumerate(classes):
        if name in SHAPES:
            shapes[:, SHAPES.index(name)] = probabilities[:, column]
    return np.concatenate(
        [geometry, np.log(clipped / (1 - clipped))[:, None], best[:, None], doubt[:, None], shapes], axis=1
    )


def log_odds(values: Array, fitted: Weights) -> Array:
    """Inputs (n, m) -> log-odds (n,) of being exactly one character, within -12..12."""
    at = np.clip((values - fitted.mean) / fitted.scale, -8, 8)
    for number, (matrix, bias) in enumerate(fitted.layers):
        at = at @ matrix + bias
        if number + 1 < len(fitted.layers):
            at = np.maximum(at, 0)
    return np.asarray(np.clip(at[:, 0], -12, 12), np.float64)
