"""Measures `handwriting adapt`: simulated new hands, what 5, 10 and 20 samples a class teach, and what is forgotten.

python benchmarks/adapt.py                     on the valid part of MNIST's train part: what it was developed on
python benchmarks/adapt.py --split test        on 50 hands made of MNIST's test writers: run once, for the final table
python benchmarks/adapt.py --quick             4 hands, nothing written: does the script run?
python benchmarks/adapt.py --letters FOLDER    real crops of letters too, in subfolders such as upper_A

Each person is one `hands.Hand` over the digits of a few real writers: `GIVEN` digits a class of which the first 5, 10
or 20 are given to the adapting code of `handwriting.runs`, the same that the command runs, and `FRESH` others a class
that nothing but the last measurement sees. Whoever is refused keeps the model as it was, and counts with that.
What is no digit comes from `learning.synthesis.negatives`, of whose ten kinds adapting itself knows three.
Writes docs/results/adapt.md and docs/results/adapt.json (with `--split test`), or adapt-valid.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import LOOK_ALIKES
from hands import people
from numpy.typing import NDArray
from tables import RESULTS, hardware, load_average, markdown

from handwriting import __version__, data
from handwriting.classifier import Classifier, read
from handwriting.data import Dataset
from handwriting.files import write_whole
from handwriting.imaging import normalised
from handwriting.learning.adapting import Seen
from handwriting.learning.synthesis import negatives
from handwriting.runs import fitting

GIVEN, FRESH = 20, 10  # digits a class and person
COUNTS = (5, 10, 20)
NO_DIGITS = 4_000


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="a shipped model or a .onnx file")
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--letters", type=Path, default=None, help="real crops of letters in subfolders")
    parser.add_argument("--quick", action="store_true", help="4 people, nothing written")
    options = parser.parse_args()
    if options.quick and options.split == "test":
        parser.error("the test part is opened once, for the whole table: --quick goes with --split valid")
    splits = data.split(data.load("mnist", data_dir=options.data_dir), seed=11)
    part = splits.open_test() if options.split == "test" else splits.valid
    count = 4 if options.quick else options.people
    started = time.perf_counter()
    model, content = Classifier(options.model), read(options.model)
    generator = np.random.default_rng([options.seed, options.split == "test"])
    memory = fitting.remember(content, splits.train, splits.valid, generator)
    junk = _junk(content, splits.valid, options.letters)
    rows: list[dict[str, Any]] = []
    example: Dataset | None = None
    for number, (hand, person) in enumerate(people(part, count, GIVEN + FRESH, generator)):
        example = example or person
        rows += _measured(number, model, content, person, memory, junk)
        last = rows[-1]
        print(
            f"person {number}: slant {hand.slant:+.2f}, aspect {hand.aspect:.2f}, stroke {hand.stroke:+.2f}, "
            f"{', '.join(sorted(hand.habits))}: {last['before']:.3f} -> {[row['after'] for row in rows[-3:]]}, "
            f"accepted {last['accepted_before']:.3f} -> {[row['accepted_after'] for row in rows[-3:]]}, known "
            f"{[round(row['known_change'], 3) for row in rows[-3:]]}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    assert example is not None
    document = {
        "split": options.split,
        "people": count,
        "fresh_per_person": FRESH * 10,
        "no_digits": {name: len(seen) for name, seen in junk.items()},
        "model": Path(options.model).name,
        "seed": options.seed,
        "hardware": f"{hardware()}, {load_average()}",
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


def _junk(content: bytes, digits: Dataset, letters: Path | None) -> dict[str, Seen]:
    """What is no digit, as the model sees it: drawn and cut, and real letters where there are some."""
    source = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    found = {"drawn": negatives(NO_DIGITS, source, torch.Generator().manual_seed(1)).numpy()}
    if letters is not None:
        files = [path for path in sorted(letters.glob("*/*")) if path.parent.name[-1] not in LOOK_ALIKES]
        found["letters"] = np.stack([normalised(path)[0] for path in files])
    return dict(zip(found, fitting.look(content, *found.values()), strict=True))


def _measured(
    number: int,
    model: Classifier,
    content: bytes,
    person: Dataset,
    memory: fitting.Memory,
    junk: dict[str, Seen],
) -> list[dict[str, Any]]:
    """One person -> a row for each of `COUNTS`."""
    (everything,) = fitting.look(content, person.images)
    place = np.concatenate([np.arange(total) for total in np.bincount(person.labels)])  # persons come class by class
    fresh = np.flatnonzero(place >= GIVEN)
    seen, labels = everything.subset(fresh), person.labels[fresh]
    rows = []
    for given in COUNTS:
        rows_given = np.flatnonzero(place < given)
        hand, truth = everything.subset(rows_given), person.labels[rows_given]
        started = time.perf_counter()
        taught = fitting.teach(hand, truth, memory, model, np.random.default_rng(number))
        seconds = time.perf_counter() - started
        held_out = -fitting.cost(hand.logits, taught.logits.held_out, truth)
        known = -fitting.cost(memory.check.logits, taught.logits.correction(memory.check), memory.labels)
        accepted = held_out >= 0 and known >= -fitting.MOST_COST
        verdict = taught.character.correction if accepted and taught.character is not None else None
        right = [seen.logits.argmax(1) == labels, (taught.logits.correction(seen)).argmax(1) == labels]
        right[1] = right[1] if accepted else right[0]

        def passed(kind: Seen, after: bool) -> NDArray[np.bool_]:
            character = verdict(kind) if after and verdict is not None else kind.character  # noqa: B023 - used at once
            assert character is not None, "this measures models that reject"
            return np.asarray(character >= taught.reject_at)  # noqa: B023

        rows.append(
            {
                "person": number,
                "given": given,
                "before": float(right[0].mean()),
                "after": float(right[1].mean()),
                "held_out_change": held_out,
                "known_change": known if accepted else 0.0,
                "known_change_offered": known,
                "accepted": accepted,
                "strength": taught.logits.strength,
                "character_strength": taught.character.strength if taught.character is not None else 0.0,
                "seconds": seconds,
            }
        )
        for when, after in (("before", False), ("after", True)):
            rows[-1] |= {
                f"accepted_{when}": float(passed(seen, after).mean()),
                f"right_but_rejected_{when}": float((right[after] & ~passed(seen, after)).mean()),
                f"known_accepted_{when}": float(passed(memory.check, after).mean()),
                **{f"{name}_{when}": float(passed(kind, after).mean()) for name, kind in junk.items()},
            }
    return rows


def _summary(rows: list[dict[str, Any]], given: int) -> dict[str, Any]:
    """The rows of one count of samples -> means over persons with 95% intervals (bootstrap over persons)."""
    mine = [row for row in rows if row["given"] == given]
    column = {key: np.array([row[key] for row in mine], float) for key in mine[0]}
    pick = np.random.default_rng(0).integers(0, len(mine), (4000, len(mine)))

    def mean(values: NDArray[np.float64]) -> dict[str, float]:
        low, high = np.quantile(values[pick].mean(axis=1), [0.025, 0.975])
        return {"mean": float(values.mean()), "low": float(low), "high": float(high)}

    compared = [key.removesuffix("_before") for key in column if key.endswith("_before")]
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
        "verdict_kept": int((column["character_strength"] == 0).sum()),
        **{key: {when: mean(column[f"{key}_{when}"]) for when in ("before", "after")} for key in compared},
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
    read_right, accepted = [], []
    for row, seconds in zip(document["table"], document["command_seconds"], strict=True):
        known = row["known_change"]
        read_right.append(
            [
                row["given"],
                _share(row["before"]),
                _share(row["after"]),
                _points(row["gain"]),
                row["worse"],
                f"{known['mean']:+.3f} ({known['low']:+.3f} to {known['high']:+.3f}), worst {row['known_worst']:+.3f}",
                row["refused"],
                f"{seconds:.1f}",
            ]
        )
        pairs = ("accepted", "right_but_rejected", "known_accepted", *document["no_digits"])
        accepted.append([row["given"], *(_pair(row[key]) for key in pairs)])
    names = {"drawn": "no digits, drawn and cut", "letters": "real letters, look-alikes apart"}
    no_digits = [f"{names[name]} (n = {count:,})" for name, count in document["no_digits"].items()]
    where = "MNIST's test part" if document["split"] == "test" else "the valid part of MNIST's train part"
    return "\n".join(
        [
            "# Learning from a hand",
            "",
            f"`handwriting adapt` on {document['people']} simulated hands, made of the writers of {where}; each is "
            f"measured on {document['fresh_per_person']} fresh digits that nothing else saw. Means over hands, 95% "
            "intervals by bootstrap over hands.",
            "",
            markdown(
                [
                    "samples a class",
                    "accuracy before",
                    "accuracy after",
                    "gain, points",
                    "hands worse off",
                    "change on MNIST valid, points",
                    "refused",
                    "seconds, whole command",
                ],
                read_right,
            ),
            "What is accepted as a digit at all (`character`), before and after:",
            "",
            markdown(
                ["samples a class", "fresh digits", "fresh digits read right but rejected", "MNIST valid", *no_digits],
                accepted,
            ),
            "- A hand is one way of writing (slant, width, pen, a bend for each class, habits such as a crossed 7 or a "
            "slashed 0: `benchmarks/hands.py`) laid over the digits of a few real writers, since the test writers left "
            "20 to 130 digits each, and 30 of each class are needed. Writers are dealt whole; a digit may serve two or "
            "three hands, restyled by each. A real person varies less than several writers do.",
            "- A refused hand keeps the model as it was and counts with that.",
            "- MNIST valid (12,000 digits) is what the command itself checks: it picks the strength of the correction "
            "(1, 1/2, 1/4 or 1/10) by it, and lets it reject at most 0.5 points more.",
            f"- `{document['model']}` as it is shipped is the model before. What it accepts is corrected so that no "
            "more bad cuts of known digits pass than before; the pictures of no digits here are made otherwise.",
            "",
            f"{document['hardware']} when it ended. Written by `benchmarks/adapt.py --split {document['split']}`.",
            "",
        ]
    )


def _pair(means: dict[str, dict[str, float]]) -> str:
    return f"{means['before']['mean']:.1%} -> {means['after']['mean']:.1%}"


def _share(mean: dict[str, float]) -> str:
    return f"{mean['mean']:.2%} ({mean['low']:.2%} to {mean['high']:.2%})"


def _points(mean: dict[str, float]) -> str:
    return f"{100 * mean['mean']:+.2f} ({100 * mean['low']:+.2f} to {100 * mean['high']:+.2f})"


if __name__ == "__main__":
    main()
