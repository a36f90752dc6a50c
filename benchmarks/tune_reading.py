"""Fits what `reading` weighs candidates by, on fields composed from digits that neither network learned from.

Half of their writers are for fitting, the other half for the calibration and for the figures that it prints.
MNIST test is not opened.

    python benchmarks/tune_reading.py pieces --data-dir DIR    # cuts and pieces alone: writes weights.json
    python benchmarks/tune_reading.py lines --data-dir DIR     # beside the line network: writes into digits-lines.onnx
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from compose import Bank, Composed, compose_field, compose_page, strangers
from numpy.typing import NDArray

from handwriting.classifier import Classifier, load, with_metadata
from handwriting.data import Dataset
from handwriting.data import load as load_data
from handwriting.evaluation import wilson_interval
from handwriting.files import write_whole
from handwriting.learning.composing import OTHER, Material
from handwriting.learning.composing import compose as compose_scene
from handwriting.learning.synthesis import other_marks
from handwriting.reading.calibration import MOST_LEAD, Company, Mark, calibration_from, evidence, log_odds_of, vouches
from handwriting.reading.constraints import free
from handwriting.reading.lattice import Array, Lattice
from handwriting.reading.page import lattices_of, mark_of, runs_of, ways
from handwriting.reading.pieces import features
from handwriting.reading.scoring import Weights, from_json, inputs, passing, weigh
from handwriting.reading.sequence import LineModel
from handwriting.reading.sheet import lay_out

READING = Path(__file__).resolve().parent.parent / "src/handwriting/reading"
GOOD, BAD = 0.8, 0.6  # overlap (ink in common over ink in either) from which a candidate is a digit; below it is none
HIDDEN = 32
SHARPEN_ROUNDS = 6
FORMAT = 1
# Of the classifier and of the window network, beside the line network.
TRUSTS, TRUSTS_WINDOWS = (0.15, 0.3, 0.6), (0.4, 0.6, 0.8, 1.0)
# Composed fields hold nothing but digits, so what they fit cannot say how other marks look: below these, hardly any
# digit of valid fields lies. `run` is for characters that hang together.
PIECES = {"reject_below": 0.4, "least_looks": 0.5, "run": [0.4, 0.5]}
SCENES, MARKS, MARKS_SEED = 600, (1500, 300), 77  # with other marks; letters in fonts and scribbles; not those learned
SHARE = 0.75  # of what stands beside a mark in the verdict on it; the more, the more letters in numbers are read
# Of the lines read rightly that the verdict may not touch: of those whose marks vouch for each other, and of those of
# one or two, as a letter by itself is read.
KEPT, KEPT_ALONE = 0.994, 0.98


@dataclass(frozen=True)
class Studied:
    """A line found in a composed picture, with the truth about its candidates."""

    lattice: Lattice
    overlap: Array  # (n,) of each candidate with the digit that it shows most of
    digit: NDArray[np.int64]  # (n,) which digit that is, counted over the whole picture; -1 for none
    truth: str  # the text of the whole picture
    text: str  # of the line that this one shows most of
    conditions: dict[str, str]


def study(composed: Composed, classifier: Classifier, model: LineModel | None) -> list[Studied]:
    """A composed picture -> its lines as `read` finds them, with the truth."""
    sheet = lay_out(composed.picture)
    size = (sheet.mask.shape[1], sheet.mask.shape[0])
    owners = cv2.warpPerspective(
        composed.owners, sheet.way_back, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    ).astype(np.int64)
    totals = np.bincount(owners[sheet.mask > 0], minlength=256)
    truth = "".join(composed.texts)
    ends = np.cumsum([len(text) for text in composed.texts])
    studied = []
    for lattice in lattices_of(sheet, classifier, model):
        strip, cuts, found = lattice.strip, lattice.cuts, lattice.candidates
        x, y = strip.corner
        high, wide = strip.mask.shape
        own = np.where(strip.mask > 0, owners[y : y + high, x : x + wide], -1)
        columns = np.arange(wide)
        overlap, digit = np.zeros(len(found)), np.full(len(found), -1)
        for number, candidate in enumerate(found):
            inside = (columns >= cuts.paths[candidate.start][:, None]) & (columns < cuts.paths[candidate.end][:, None])
            counts = np.bincount(own[inside & (own >= 0)], minlength=256)
            best = 1 + int(counts[1:].argmax())
            stray = max(counts[0] - 0.25 * counts.sum(), 0)  # soft edges of strokes belong to nobody
            overlap[number] = counts[best] / max(counts[1:].sum() + stray + totals[best] - counts[best], 1)
            digit[number] = best - 1 if counts[best] else -1
        whose = np.bincount(own[own > 0], minlength=256)
        line = int(np.searchsorted(ends, int(whose.argmax()) - 1, side="right")) if whose.any() else -1
        text = composed.texts[line] if 0 <= line < len(composed.texts) else ""
        studied.append(Studied(lattice, overlap, digit, truth, text, composed.conditions))
    return studied


def fit_network(lines: list[Studied], rounds: int, rng: np.random.Generator) -> tuple[Array, Array, list[Array]]:
    """Lines -> mean, scale and weights of a network that tells whole characters from other candidates.

    Cross-entropy by Adam; plain numpy, as there are some thousand weights.
    """
    values = np.concatenate([_inputs(line) for line in lines])
    overlap = np.concatenate([line.overlap for line in lines])
    readable = np.concatenate([_readable(line) for line in lines])
    known = (overlap >= GOOD) | (overlap < BAD) | readable
    target = ((overlap >= GOOD) | readable)[known].astype(np.float64)
    values = values[known]
    mean, scale = values.mean(0), values.std(0) + 1e-6
    values = np.clip((values - mean) / scale, -8, 8)
    wide = values.shape[1]
    weights = [
        rng.normal(0, (2 / wide) ** 0.5, (wide, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, (2 / HIDDEN) ** 0.5, (HIDDEN, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, 0.1, (HIDDEN, 1)),
        np.zeros(1),
    ]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, batch = 0, 512
    total = rounds * (len(values) // batch)
    for _ in range(rounds):
        order = rng.permutation(len(values))
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            step += 1
            rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / total))
            for k, gradient in enumerate(_gradients(values[rows], target[rows], weights)):
                first[k] = 0.9 * first[k] + 0.1 * gradient
                second[k] = 0.999 * second[k] + 0.001 * gradient**2
                fair = (first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step))
                weights[k] = weights[k] - rate * (fair[0] / (np.sqrt(fair[1]) + 1e-8) + 1e-3 * weights[k])
    return mean, scale, weights


def _gradients(x: Array, target: Array, weights: list[Array]) -> list[Array]:
    w1, b1, w2, b2, w3, b3 = weights
    one = np.maximum(x @ w1 + b1, 0)
    two = np.maximum(one @ w2 + b2, 0)
    odds = (two @ w3 + b3)[:, 0]
    error = ((1 / (1 + np.exp(-np.clip(odds, -30, 30))) - target) / len(x))[:, None]
    back_two = (error @ w3.T) * (two > 0)
    back_one = (back_two @ w2.T) * (one > 0)
    return [x.T @ back_one, back_one.sum(0), one.T @ back_two, back_two.sum(0), two.T @ error, error.sum(0)]


def sharpen(
    lines: list[Studied], mean: Array, scale: Array, weights: list[Array], prices: tuple[float, float], rounds: int
) -> list[Array]:
    """Weights fitted candidate by candidate -> the same, fitted to whole lines.

    Maximises the likelihood of the true text among all ways through the lattice (a conditional random field: Lafferty
    et al. 2001; the sum over ways with one text as in CTC: Graves et al. 2006), by Adam, small steps.
    """
    rng = np.random.default_rng(0)
    fitted = from_json({**_document(mean, scale, weights), "passed_over": list(prices)})
    items = []
    for line in lines:
        item = _whole_line(line, fitted, mean, scale)
        if item is not None:
            items.append(item)
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, total = 0, rounds * (len(items) // 8)
    for _ in range(rounds):
        order = rng.permutation(len(items))
        for start in range(0, len(order) - 7, 8):
            step += 1
            rate = 1e-3 * 0.5 * (1 + np.cos(np.pi * step / total))
            batch = [items[number] for number in order[start : start + 8]]
            values = np.concatenate([item.values for item in batch])
            one = np.maximum(values @ weights[0] + weights[1], 0)
            two = np.maximum(one @ weights[2] + weights[3], 0)
            odds = (two @ weights[4] + weights[5])[:, 0]
            error, at = np.zeros(len(odds)), 0
            for item in batch:
                own = slice(at, at + len(item.values))
                error[own] = _ways_through(item, odds[own], None) - _ways_through(item, odds[own], item.truth)
                at += len(item.values)
            error = error[:, None] / len(batch)
            back_two = (error @ weights[4].T) * (two > 0)
            back_one = (back_two @ weights[2].T) * (one > 0)
            gradients = [values.T @ back_one, back_one.sum(0), one.T @ back_two, back_two.sum(0), two.T @ error]
            gradients.append(error.sum(0))
            for k, gradient in enumerate(gradients):
                first[k] = 0.9 * first[k] + 0.1 * gradient
                second[k] = 0.999 * second[k] + 0.001 * gradient**2
                fair = (first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step))
                weights[k] = weights[k] - rate * (fair[0] / (np.sqrt(fair[1]) + 1e-8) + 1e-3 * weights[k])
    return weights


@dataclass(frozen=True)
class _Item:
    """What `sharpen` needs of a line: inputs (n, m), spans (n, 2), log-probabilities of the truth's labels (n, k)."""

    values: Array
    spans: list[tuple[int, int]]
    truth: Array
    skips: Array


def _whole_line(line: Studied, fitted: Weights, mean: Array, scale: Array) -> _Item | None:
    """A studied line -> its item; None when no way through its lattice has the true text."""
    lattice = line.lattice
    columns = [lattice.classes.index(label) for label in line.text]
    if not columns:
        return None
    truth = np.log(np.maximum(lattice.probabilities[:, columns], 1e-6))
    spans = [(candidate.start, candidate.end) for candidate in lattice.candidates]
    skips = passing(lattice.strip, lattice.cuts, fitted.passed_over)
    item = _Item(np.clip((_inputs(line) - mean) / scale, -8, 8), spans, truth, skips)
    return item if _ways_through(item, np.zeros(len(spans)), truth).any() else None


def _ways_through(item: _Item, odds: Array, truth: Array | None) -> Array:
    """How likely (n,) each candidate is on the way, among all ways, or among those that give the true text."""
    count, long = len(item.skips), 0 if truth is None else truth.shape[1]
    ahead = np.full((count + 1, long + 1), -np.inf)
    behind = np.full((count + 1, long + 1), -np.inf)
    ahead[0, 0], behind[count, long] = 0, 0
    leaving: list[list[int]] = [[] for _ in range(count)]
    for number, (start, _) in enumerate(item.spans):
        leaving[start].append(number)
    scores = odds[:, None] + (0 if truth is None else truth)
    forth = slice(0, long) if truth is not None else slice(None)
    back = slice(1, None) if truth is not None else slice(None)
    for at in range(count):
        ahead[at + 1] = np.logaddexp(ahead[at + 1], ahead[at] + item.skips[at])
        for number in leaving[at]:
            end = item.spans[number][1]
            ahead[end, back] = np.logaddexp(ahead[end, back], ahead[at, forth] + scores[number])
    for at in range(count - 1, -1, -1):
        behind[at] = behind[at + 1] + item.skips[at]
        for number in leaving[at]:
            end = item.spans[number][1]
            behind[at, forth] = np.logaddexp(behind[at, forth], behind[end, back] + scores[number])
    whole = ahead[count, long]
    if not np.isfinite(whole):
        return np.zeros(len(odds))
    return np.array(
        [
            np.exp(ahead[start, forth] + scores[number] + behind[end, back] - whole).sum()
            for number, (start, end) in enumerate(item.spans)
        ]
    )


def _document(mean: Array, scale: Array, network: list[Array]) -> dict[str, Any]:
    """Fitted numbers -> the document that `from_json` takes, not yet calibrated."""
    layers = [
        {"matrix": np.round(network[k], 4).tolist(), "bias": np.round(network[k + 1], 4).tolist()} for k in (0, 2, 4)
    ]
    return {
        "format_version": FORMAT,
        "mean": np.round(mean, 5).tolist(),
        "scale": np.round(scale, 5).tolist(),
        "layers": layers,
        "passed_over": [2.0, 40.0],
        "character": [0.0, 1.0, 0.0],
        "line": [0.0, 1.0, 0.0],
        **PIECES,
    }


def _inputs(line: Studied) -> Array:
    lattice = line.lattice
    geometry = np.stack([features(lattice.strip, lattice.cuts, candidate) for candidate in lattice.candidates])
    return inputs(geometry, lattice.probabilities, lattice.character, lattice.classes)


def reweighed(line: Studied, fitted: Weights) -> Studied:
    """A line studied without a line model -> the same, weighed by other weights."""
    old = line.lattice
    lattice = weigh(old.strip, old.cuts, old.candidates, old.probabilities, old.character, old.classes, fitted)
    return replace(line, lattice=lattice)


def _readable(line: Studied) -> NDArray[np.bool_]:
    """The best candidate of a digit that no cut frees wholly, when it overlaps more than ``BAD``."""
    best = np.zeros(len(line.overlap), bool)
    for digit in np.unique(line.digit[line.digit >= 0]):
        own = np.flatnonzero(line.digit == digit)
        top = own[line.overlap[own].argmax()]
        best[top] = line.overlap[top] >= BAD
    return best


def read_text(line: Studied) -> tuple[str, float, list[tuple[float, float, bool]]]:
    """A studied line -> the text read, its lead over the next, and of each character: score, probability, right."""
    lattice = line.lattice
    best = ways(lattice, free(), frozenset(lattice.classes))
    if not best:
        return "", 0.0, []
    lead = best[0].score - best[1].score if len(best) > 1 else MOST_LEAD
    marks = []
    for edge in best[0].edges:
        if edge.label is not None:
            number, label = edge.candidate, lattice.classes.index(edge.label)
            digit = int(line.digit[number])
            right = digit >= 0 and line.overlap[number] > 0.5 and line.truth[digit] == edge.label
            marks.append((float(lattice.whole[number]), float(lattice.probabilities[number, label]), right))
    return best[0].text, lead, marks


def exact(lines: list[Studied]) -> float:
    """The share of lines that are read exactly."""
    return float(np.mean([read_text(line)[0] == line.text for line in lines]))


def choose_prices(lines: list[Studied], document: dict[str, Any]) -> tuple[tuple[float, float], float]:
    """Lines, weights so far -> prices of passing ink over that read most lines rightly, and that share."""
    best, chosen = -1.0, (2.0, 10.0)
    for flat in (1.0, 3.0):
        for steep in (20.0, 60.0):
            fitted = from_json({**document, "passed_over": [flat, steep]})
            share = exact([reweighed(line, fitted) for line in lines])
            if share > best:
                best, chosen = share, (flat, steep)
    return chosen, best


def logistic(features: Array, right: NDArray[np.bool_]) -> list[float]:
    """Features (n, k), outcomes (n,) -> intercept and slopes by Newton's method, lightly held towards 0."""
    x = np.concatenate([np.ones((len(features), 1)), features], 1)
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 0.5 * np.eye(x.shape[1])
        beta = beta + np.linalg.solve(hessian, x.T @ (right - p) - 0.5 * beta)
    return [round(float(b), 4) for b in beta]


def calibrate(lines: list[Studied]) -> dict[str, Any]:
    """Lines that were not fitted on -> the fits of `Calibration`."""
    readings = [read_text(line) for line in lines]
    marks = [mark for _, _, own in readings for mark in own]
    doubt = [log_odds_of(p) for _, p, _ in marks]
    measured = np.stack([np.array([whole for whole, _, _ in marks]), np.array(doubt)], 1)
    character = logistic(measured, np.array([right for *_, right in marks]))
    fitted = calibration_from({"character": character, "line": (0.0, 1.0, 0.0), **PIECES})
    sums = [sum(np.log(fitted.of_character(whole, p)) for whole, p, _ in own) for _, _, own in readings]
    leads = [min(lead, MOST_LEAD) for _, lead, _ in readings]
    right = np.array([text == line.text for (text, _, _), line in zip(readings, lines, strict=True)])
    return {"character": character, "line": logistic(np.stack([np.array(sums), np.array(leads)], 1), right)}


def strange(digits: Dataset, count: int, seed: int) -> list[Composed]:
    """So many pictures of numbers of the digits' writers with letters and scribbles among them, "?" in the texts."""
    generator, rng = torch.Generator().manual_seed(MARKS_SEED), np.random.default_rng(seed)
    hands = tuple((digits.images[own], digits.labels[own]) for own in digits.hands())
    material = Material(hands, other_marks(*MARKS, generator).numpy())
    found: list[Composed] = []
    while len(found) < count:
        scene = compose_scene(material, rng)
        if OTHER in scene.labels:
            text = "".join("?" if label == OTHER else digits.classes[label] for label in scene.labels)
            found.append(Composed(scene.picture, (text,), scene.owners))
    return found


def fit_verdict(others: list[Studied], numbers: list[Studied]) -> dict[str, Any]:
    """Lines with other marks among their digits, lines of digits alone -> what `Company` takes.

    Fitted on the first; of the second the least log-odds are chosen, the greatest that leave `KEPT` of the lines that
    vouch for what is on them alone, and `KEPT_ALONE` of the others.
    """
    fits: dict[str, list[float]] = {}
    judged = [run for line in others for run in _runs(line)]
    for name, alone in (("alone", True), ("joined", False)):
        known = [(run, text) for run, read, text in judged if (len(run) == 1) == alone and (text == read or not text)]
        fits[name] = logistic(
            np.array([evidence(run) for run, _ in known]), np.array([text != "" for _, text in known])
        )
    right = [[run for run, _, _ in _runs(line)] for line in numbers if read_text(line)[0] == line.text]
    several, one = ([runs for runs in right if vouches(runs) == many] for many in (True, False))
    bounds = {}
    for name, kept, lines in (("least", KEPT, several), ("least_alone", KEPT_ALONE, one)):
        for least in np.arange(4, -6, -0.25):
            company = Company(tuple(fits["alone"]), tuple(fits["joined"]), SHARE, float(least), float(least))
            share = float(np.mean([not any(company.rejects(runs)) for runs in lines]))
            if share >= kept:
                break
        bounds[name] = float(least)
        print(f"{name} {least}: {share:.4f} of {len(lines)} right lines are kept")
    return {**fits, "share": SHARE, **bounds}


def _runs(line: Studied) -> list[tuple[list[Mark], str, str]]:
    """A studied line -> what hangs together on its best way: its marks, how they are read, and what they are: digits,
    or "" where they are none."""
    best = ways(line.lattice, free(), frozenset(line.lattice.classes))
    found = []
    for run in runs_of(line.lattice, best[0].edges) if best else ():
        owners = [int(line.digit[edge.candidate]) for edge in run]
        text = "".join(line.truth[owner] if owner >= 0 else "?" for owner in owners)
        read = "".join(str(edge.label) for edge in run)
        found.append(([mark_of(line.lattice, edge) for edge in run], read, text if text.strip("?") else ""))
    return found


def compose(bank: Bank, seed: int, fields: int, pages: int) -> list[Composed]:
    """So many composed fields and pages."""
    rng = np.random.default_rng(seed)
    return [compose_field(bank, rng) for _ in range(fields)] + [compose_page(bank, rng) for _ in range(pages)]


def studied(pictures: list[Composed], classifier: Classifier, model: LineModel | None) -> list[Studied]:
    """Composed pictures -> their lines, studied."""
    return [line for composed in pictures for line in study(composed, classifier, model)]


def main() -> None:
    """Composes, fits, calibrates, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pieces", "lines"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--fields", type=int, default=1500)
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--trusts", type=float, nargs="+", default=TRUSTS, help="of the classifier, to choose from")
    parser.add_argument("--trusts-windows", type=float, nargs="+", default=TRUSTS_WINDOWS, help="the window network's")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=READING)
    options = parser.parse_args()
    classifier = load(options.model)
    digits = strangers(load_data("mnist", data_dir=options.data_dir))
    if digits.writers is None:
        raise SystemExit("tune_reading: writers are needed: put qmnist_writers.npz beside the MNIST files")
    halves = [Bank(digits.subset(np.flatnonzero(digits.writers % 2 == half))) for half in (0, 1)]
    fit = compose(halves[0], options.seed, options.fields, options.pages)
    check = compose(halves[1], options.seed + 1, options.fields // 2, options.pages // 2)
    if options.what == "pieces":
        known, held_out = (studied(part, classifier, None) for part in (fit, check))
        document = tuned(known, held_out, options.rounds, options.seed)
        write_whole(options.out / "weights.json", json.dumps(document, separators=(",", ":")) + "\n")
    else:
        file = options.out / "digits-lines.onnx"
        model = LineModel(file.read_bytes(), (READING / "digits-windows.onnx").read_bytes())
        others = strange(halves[0].digits, SCENES, options.seed + 2)
        trusts = {"trust_windows": options.trusts_windows, "trust": options.trusts}
        metadata = {**model.metadata, "reading": tuned_lines(fit, check, others, classifier, model, trusts)}
        write_whole(file, with_metadata(file.read_bytes(), metadata))


def tuned(fit: list[Studied], check: list[Studied], rounds: int, seed: int) -> dict[str, Any]:
    """Lines to fit on, lines to calibrate on -> the document of weights; prints what they read."""
    mean, scale, network = fit_network(fit, rounds, np.random.default_rng(seed))
    document = _document(mean, scale, network)
    prices, share = choose_prices(fit, document)
    print(f"fitted by candidates: {share:.3f} of the lines fitted on read exactly")
    document = _document(mean, scale, sharpen(fit, mean, scale, network, prices, SHARPEN_ROUNDS))
    prices, share = choose_prices(fit, document)
    document["passed_over"] = list(prices)
    print(f"passing over costs {prices}: {share:.3f} of the lines fitted on read exactly")
    fitted = from_json(document)
    check = [reweighed(line, fitted) for line in check]
    report(check)
    return {**document, **calibrate(check)}


def tuned_lines(
    fit: list[Composed],
    check: list[Composed],
    others: list[Composed],
    classifier: Classifier,
    model: LineModel,
    trusts: dict[str, Sequence[float]],
) -> dict[str, Any]:
    """Pictures to choose on, to calibrate on, with other marks, and trusts to choose from -> the line model's
    `reading`; prints what it reads."""
    model.trust, numbers = trusts["trust"][0], []
    for name, values in trusts.items():  # one after the other
        best, share = values[0], -1.0
        for value in values:
            setattr(model, name, value)
            lines = studied(fit, classifier, model)
            right = exact(lines)
            print(f"{name} {value}: {right:.4f} read exactly", flush=True)
            if right > share:
                best, share, numbers = value, right, lines
        setattr(model, name, best)
    lines = studied(check, classifier, model)
    report(lines)
    verdict = fit_verdict(studied(others, classifier, model), [*numbers, *lines])
    return {**calibrate(lines), "company": verdict, "trust": model.trust, "trust_windows": model.trust_windows}


def report(lines: list[Studied]) -> None:
    """Prints the share of lines read exactly, over all and by condition."""
    right = np.array([read_text(line)[0] == line.text for line in lines])
    groups: dict[str, list[bool]] = {"all lines": right.tolist()}
    for line, good in zip(lines, right, strict=True):
        for name, value in line.conditions.items():
            groups.setdefault(f"{name}: {value}", []).append(bool(good))
    for name, outcomes in sorted(groups.items()):
        low, high = wilson_interval(sum(outcomes), len(outcomes))
        print(f"{name:28s} {np.mean(outcomes):6.3f}  [{low:.3f}, {high:.3f}]  n={len(outcomes)}")


if __name__ == "__main__":
    main()
