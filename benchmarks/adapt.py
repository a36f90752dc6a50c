"""Measures `handwriting adapt`: simulated new hands, what 5, 10 and 20 samples a class teach, and what is forgotten.

python benchmarks/adapt.py                     on the valid part of MNIST's train part: what it was developed on
python benchmarks/adapt.py --split test        on 50 hands made of MNIST's test writers: run once, for the final table
python benchmarks/adapt.py --quick             4 hands, nothing written: does the script run?

Each person is one `hands.Hand` over the digits of a few real writers: `GIVEN` digits a class of which the first 5, 10
or 20 are given to the adapting code of `handwriting.runs`, the same that the command runs, and `FRESH` others a class
that nothing but the last measurement sees. Whoever is refused keeps the model as it was, and counts with that.
Writes docs/results/adapt.md and docs/results/adapt.json (with `--split test`), or adapt-valid.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hands import people
from numpy.typing import NDArray

from handwriting import __version__, data
from handwriting.classifier import Classifier
from handwriting.data import Dataset
from handwriting.files import write_whole
from handwriting.learning.adapting import Seen
from handwriting.runs import adapting

GIVEN, FRESH = 20, 10  # digits a class and person
COUNTS = (5, 10, 20)
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="a shipped model or a .onnx file")
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="4 people, nothing written")
    options = parser.parse_args()
    if options.quick and options.split == "test":
        parser.error("the test part is opened once, for the whole table: --quick goes with --split valid")
    splits = data.split(data.load("mnist", data_dir=options.data_dir), seed=11)
    part = splits.open_test() if options.split == "test" else splits.valid
    count = 4 if options.quick else options.people
    started = time.perf_counter()
    model = Classifier(options.model)
    generator = np.random.default_rng([options.seed, options.split == "test"])
    chosen = np.sort(generator.permutation(len(splits.train))[: adapting.REPLAYED])
    replay, check = adapting.look(model.path.read_bytes(), splits.train.subset(chosen), splits.valid)
    rows: list[dict[str, Any]] = []
    example: Dataset | None = None
    for number, (hand, person) in enumerate(people(part, count, GIVEN + FRESH, generator)):
        example = example or person
        rows += _measured(number, model, person, replay, (check, splits.valid.labels))
        last = rows[-1]
        print(
            f"person {number}: slant {hand.slant:+.2f}, aspect {hand.aspect:.2f}, stroke {hand.stroke:+.2f}, "
            f"{', '.join(sorted(hand.habits))}: {last['before']:.3f} -> {[row['after'] for row in rows[-3:]]}, known "
            f"{[round(row['known_change'], 3) for row in rows[-3:]]}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    assert example is not None
    document = {
        "split": options.split,
        "people": count,
        "fresh_per_person": FRESH * 10,
        "model": Path(options.model).name,
        "seed": options.seed,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "version": __version__,
        "table": [_summary(rows, given) for given in COUNTS],
        "command_seconds": [_command_seconds(options, example, given) for given in COUNTS],
        "rows": rows,
    }
    table = _table(document)
    print(table)
    if not options.quick:
        name = "adapt" if options.split == "test" else "adapt-valid"
        write_whole(RESULTS / f"{name}.json", json.dumps(document, indent=1) + "\n")
        if options.split == "test":
            write_whole(RESULTS / "adapt.md", table)


def _measured(
    number: int, model: Classifier, person: Dataset, replay: Seen, judges: tuple[Seen, NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """One person -> a row for each of `COUNTS`."""
    (everything,) = adapting.look(model.path.read_bytes(), person)
    place = np.concatenate([np.arange(total) for total in np.bincount(person.labels)])  # persons come class by class
    fresh = np.flatnonzero(place >= GIVEN)
    seen, labels = everything.subset(fresh), person.labels[fresh]
    character = model.scores(person.images[fresh]).character
    rows = []
    for given in COUNTS:
        taught = np.flatnonzero(place < given)
        started = time.perf_counter()
        learned = adapting.learn(
            everything.subset(taught),
            person.labels[taught],
            replay,
            judges,
            model.temperature,
            np.random.default_rng(number),
        )
        seconds = time.perf_counter() - started
        after = learned.correction(judges[0])
        held_out = -adapting.cost(everything.logits[taught], learned.held_out, person.labels[taught])
        known = -adapting.cost(judges[0].logits, after, judges[1])
        accepted = held_out >= 0 and known >= -adapting.MOST_COST
        answers = learned.correction(seen) if accepted else seen.logits
        rows.append(
            {
                "person": number,
                "given": given,
                "before": float((seen.logits.argmax(1) == labels).mean()),
                "after": float((answers.argmax(1) == labels).mean()),
                "held_out_change": held_out,
                "known_change": known if accepted else 0.0,
                "known_change_offered": known,
                "accepted": accepted,
                "strength": learned.strength,
                "accepted_as_characters": float((character >= model.reject_below).mean()),
                "seconds": seconds,
            }
        )
    return rows


def _summary(rows: list[dict[str, Any]], given: int) -> dict[str, Any]:
    """The rows of one count of samples -> means over persons with 95% intervals (bootstrap over persons)."""
    mine = [row for row in rows if row["given"] == given]
    column = {key: np.array([row[key] for row in mine], float) for key in mine[0]}
    pick = np.random.default_rng(0).integers(0, len(mine), (4000, len(mine)))

    def mean(values: NDArray[np.float64]) -> dict[str, float]:
        low, high = np.quantile(values[pick].mean(axis=1), [0.025, 0.975])
        return {"mean": float(values.mean()), "low": float(low), "high": float(high)}

    return {
        "given": given,
        "before": mean(column["before"]),
        "after": mean(column["after"]),
        "gain": mean(column["after"] - column["before"]),
        "worse": int((column["after"] < column["before"]).sum()),
        "known_change": mean(column["known_change"]),
        "known_worst": float(column["known_change"].min()),
        "refused": int((column["accepted"] == 0).sum()),
        "weakened": int((column["strength"] < 1).sum()),
        "seconds_median": float(np.median(column["seconds"])),
    }


def _command_seconds(options: argparse.Namespace, person: Dataset, given: int) -> float:
    """Wall seconds of the whole command `handwriting adapt`, imports and files included, for one person."""
    with tempfile.TemporaryDirectory() as scratch:
        place = np.concatenate([np.arange(total) for total in np.bincount(person.labels)])
        rows = np.flatnonzero(place < given)
        samples = Path(scratch) / "person.npz"
        np.savez(samples, images=person.images[rows], labels=person.labels[rows], classes=np.array(person.classes))
        where = ["--data-dir", str(options.data_dir)] if options.data_dir else []
        command = [sys.executable, "-m", "handwriting", "adapt", "--model", options.model, "--samples", str(samples)]
        started = time.perf_counter()
        done = subprocess.run([*command, "--out", f"{scratch}/run", *where], capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return time.perf_counter() - started


def _table(document: dict[str, Any]) -> str:
    """docs/results/adapt.md."""
    rows = []
    for row, seconds in zip(document["table"], document["command_seconds"], strict=True):
        known = row["known_change"]
        rows.append(
            f"| {row['given']} | {_share(row['before'])} | {_share(row['after'])} | {_points(row['gain'])} | "
            f"{row['worse']} | {known['mean']:+.3f} ({known['low']:+.3f} to {known['high']:+.3f}), worst "
            f"{row['known_worst']:+.3f} | {row['refused']} | {seconds:.1f} |"
        )
    where = "MNIST's test part" if document["split"] == "test" else "the valid part of MNIST's train part"
    return "\n".join(
        [
            "# Learning from a hand",
            "",
            f"`handwriting adapt` on {document['people']} simulated hands, made of the writers of {where}; each is "
            f"measured on {document['fresh_per_person']} fresh digits that nothing else saw. Means over hands, 95% "
            "intervals by bootstrap over hands. Written by `benchmarks/adapt.py "
            f"--split {document['split']}` on {document['hardware']}.",
            "",
            "| samples a class | accuracy before | after | gain, points | hands worse off | change on MNIST valid, "
            "points | refused | seconds, whole command |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "- A hand is one way of writing (slant, width, pen, a bend for each class, habits such as a crossed 7 or a "
            "slashed 0: `benchmarks/hands.py`) laid over the digits of a few real writers, since the test writers left "
            "20 to 130 digits each, and 30 of each class are needed. Writers are dealt whole; a digit may serve two or "
            "three hands, restyled by each. A real person varies less than several writers do.",
            "- A refused hand keeps the model as it was and counts with that.",
            "- MNIST valid (12,000 digits) is what the command itself checks, and it picks the strength of the "
            "correction (1, 1/2, 1/4 or 1/10) by it.",
            f"- `{document['model']}` as it is shipped is the model before; `character`, its verdict whether a picture "
            "is one whole digit, is not changed by adapting.",
            "",
        ]
    )


def _share(mean: dict[str, float]) -> str:
    return f"{mean['mean']:.2%} ({mean['low']:.2%} to {mean['high']:.2%})"


def _points(mean: dict[str, float]) -> str:
    return f"{100 * mean['mean']:+.2f} ({100 * mean['low']:+.2f} to {100 * mean['high']:+.2f})"


if __name__ == "__main__":
    main()
