"""How many handwritten numbers are read exactly: composed fields and photographed pages, against Tesseract and EasyOCR.

While developing, digits that neither network learned from, of writers strange to the line network; ``--split test``
composes from MNIST test digits, once, for the reported table (docs/results/fields.md and .json, and the annotated photo
docs/images/read.jpg).

    python benchmarks/fields.py --data-dir DIR [--split valid|test] [--quick] [--fields 1000] [--pages 60]
    python benchmarks/fields.py --data-dir DIR --speed
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from compose import Bank, Composed, compose_field, compose_page, from_near, on_table, strangers
from numpy.typing import NDArray

from handwriting.classifier import Classifier, load
from handwriting.data import load as load_data
from handwriting.data import split
from handwriting.evaluation import wilson_interval
from handwriting.files import write_whole
from handwriting.reading import annotated, read

ROOT = Path(__file__).resolve().parent.parent
Picture = NDArray[np.uint8]
Reader = Callable[[Picture, bool], list[str]]
SPEED = (
    "`read` of a 1600-pixel photo with 18 to 22 characters, in-process after load: median {median_ms:.0f} ms, "
    "90% within {p90_ms:.0f} ms (n = {n:.0f})."
)
SEED = {"valid": 2024, "test": 11}


@dataclass
class Tally:
    """What one reader made of one set: by condition, exact or not, edits and characters."""

    exact: dict[str, list[bool]] = field(default_factory=dict)
    edits: dict[str, int] = field(default_factory=dict)
    characters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, conditions: dict[str, str], truth: str, text: str) -> None:
        """One number's truth and what was read."""
        edits = distance(truth, text)
        for name in ("all", *(f"{key}: {value}" for key, value in conditions.items())):
            self.exact.setdefault(name, []).append(truth == text)
            self.edits[name] = self.edits.get(name, 0) + edits
            self.characters[name] = self.characters.get(name, 0) + len(truth)


def distance(first: str, second: str) -> int:
    """Least insertions, deletions and replacements from one text to another (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def matched(truths: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Lines of a page, both from top to bottom -> each true line with the text read for it, "" for none.

    The alignment of least edits: a line read too many is charged to no line, one not found counts as all wrong.
    """
    rows, columns = len(truths) + 1, len(texts) + 1
    cost = np.zeros((rows, columns))
    cost[1:, 0] = np.cumsum([len(truth) for truth in truths])
    for i in range(1, rows):
        for j in range(1, columns):
            cost[i, j] = min(
                cost[i - 1, j - 1] + distance(truths[i - 1], texts[j - 1]),
                cost[i - 1, j] + len(truths[i - 1]),
                cost[i, j - 1] + 0.01,
            )
    pairs: list[tuple[str, str]] = []
    i, j = rows - 1, columns - 1
    while i > 0:
        if j > 0 and np.isclose(cost[i, j], cost[i, j - 1] + 0.01):
            j -= 1
        elif j > 0 and np.isclose(cost[i, j], cost[i - 1, j - 1] + distance(truths[i - 1], texts[j - 1])):
            i, j = i - 1, j - 1
            pairs.append((truths[i], texts[j]))
        else:
            i -= 1
            pairs.append((truths[i], ""))
    return pairs[::-1]


def ours(classifier: Classifier) -> Reader:
    """`handwriting.read`, without any hint. A field's text is its lines', joined, were there more than one."""

    def reader(picture: Picture, one_line: bool) -> list[str]:
        texts = [line.text for line in read(picture, model=classifier).lines]
        return ["".join(texts)] if one_line else [text for text in texts if text]

    return reader


def tesseract(program: str) -> Reader:
    """Tesseract with a whitelist of digits: page segmentation 7 (one line) for fields, 6 (one block) for pages."""

    def reader(picture: Picture, one_line: bool) -> list[str]:
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            file.write(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
            file.flush()
            command = [program, file.name, "-", "--psm", "7" if one_line else "6"]
            command += ["-c", "tessedit_char_whitelist=0123456789"]
            environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
            answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
        lines = [line.replace(" ", "") for line in answer.stdout.splitlines() if line.strip()]
        return ["".join(lines)] if one_line else lines

    return reader


def rivals() -> tuple[dict[str, Reader], list[str]]:
    """The other readers that this machine has, and a sentence on each one missing."""
    found: dict[str, Reader] = {}
    notes = []
    program = shutil.which("tesseract")
    if program:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        found[answer.stdout.split("\n")[0].replace("tesseract", "Tesseract").strip() or "Tesseract"] = tesseract(
            program
        )
    else:
        notes.append("Tesseract was not measured: no `tesseract` on this machine (Debian: tesseract-ocr).")
    try:
        easyocr = importlib.import_module("easyocr")
        engine = easyocr.Reader(["en"], gpu=False, verbose=False)
    except Exception as error:  # noqa: BLE001 (whatever keeps a rival from running, the table says it)
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        notes.append(f"EasyOCR was not measured: it or its weights, which it downloads, are not here ({reason}).")
    else:
        found["EasyOCR"] = lambda picture, _: engine.readtext(picture, detail=0, allowlist="0123456789")
    return found, notes


def measure(reader: Reader, pictures: Sequence[Composed], one_line: bool) -> Tally:
    """A reader over composed pictures -> its Tally."""
    tally = Tally()
    for composed in pictures:
        started = time.perf_counter()
        texts = reader(composed.picture, one_line)
        tally.seconds += time.perf_counter() - started
        for truth, text in matched(composed.texts, texts):
            tally.add(composed.conditions, truth, text)
    return tally


def table(title: str, tallies: dict[str, Tally], count: int) -> list[str]:
    """Tallies of all readers over one set -> lines of markdown."""
    names = list(tallies)
    first = tallies[names[0]]
    head = "".join(f" {name} exact | {name} CER |" for name in names)
    lines = [f"### {title}", "", f"| condition | n |{head}", "|---|---|" + "---|---|" * len(names)]
    for key in sorted(first.exact, key=lambda name: (name != "all", name)):
        cells = ""
        for name in names:
            good = tallies[name].exact[key]
            low, high = wilson_interval(sum(good), len(good))
            error = tallies[name].edits[key] / tallies[name].characters[key]
            cells += f" {np.mean(good):.1%} [{low:.1%}, {high:.1%}] | {error:.2%} |"
        lines.append(f"| {key} | {len(first.exact[key])} |{cells}")
    times = ", ".join(f"{name} {tally.seconds / count * 1000:.0f} ms" for name, tally in tallies.items())
    return [*lines, "", f"Seconds of the wall a picture, whatever else ran: {times}.", ""]


def as_data(tallies: dict[str, Tally]) -> dict[str, object]:
    """The numbers behind a table."""
    return {
        name: {
            key: {
                "n": len(good),
                "exact": float(np.mean(good)),
                "exact_ci95": list(wilson_interval(sum(good), len(good))),
                "character_error_rate": tally.edits[key] / tally.characters[key],
            }
            for key, good in tally.exact.items()
        }
        for name, tally in tallies.items()
    }


def speed(bank: Bank, classifier: Classifier) -> dict[str, float]:
    """Milliseconds that `read` takes for a 1600-pixel photo with 20 characters, after load: median and 90th of 20."""
    rng = np.random.default_rng(3)
    pages: list[Composed] = []
    while len(pages) < 10:
        page = compose_page(bank, rng)
        if 18 <= sum(map(len, page.texts)) <= 22:
            pages.append(page)
    for page in pages[:3]:
        read(page.picture, model=classifier)
    times = []
    for page in pages * 2:
        started = time.perf_counter()
        read(page.picture, model=classifier)
        times.append((time.perf_counter() - started) * 1000)
    return {"median_ms": float(np.median(times)), "p90_ms": float(np.percentile(times, 90)), "n": float(len(times))}


def sheet_on_table(bank: Bank, rng: np.random.Generator, near: bool) -> Composed:
    """A page on a table, whole or cut by the picture."""
    photo = on_table(compose_page(bank, rng), rng)
    return from_near(photo, rng) if near else photo


def picture_for_readme(bank: Bank, classifier: Classifier, out: Path) -> None:
    """A generated sheet on a table, annotated, as docs/images/read.jpg; the strangers' digits, the first such."""
    rng = np.random.default_rng(42)
    wanted = {"paper": "red grid", "light": "shadow", "exposure": "bright", "table": "oak"}
    page = on_table(compose_page(bank, rng, longest=1200), rng, longest=1200)
    while len(page.texts) < 4 or any(page.conditions[name] != value for name, value in wanted.items()):
        page = on_table(compose_page(bank, rng, longest=1200), rng, longest=1200)
    drawn = annotated(page.picture, read(page.picture, model=classifier))
    write_whole(out, cv2.imencode(".jpg", drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())


def again(took: dict[str, float], folder: Path) -> None:
    """How long `read` takes -> into the table and figures that are there: for when the machine is quieter."""
    told = SPEED.format(**took)
    print(told)
    table, data = folder / "fields.md", folder / "fields.json"
    head = SPEED.partition("{")[0]
    lines = [told if line.startswith(head) else line for line in table.read_text().splitlines()]
    write_whole(table, "\n".join(lines) + "\n")
    write_whole(data, json.dumps({**json.loads(data.read_text()), "speed": took}, indent=1) + "\n")


def main() -> None:
    """Composes, lets every reader read, writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--fields", type=int, default=1000)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="60 fields and 4 pages, nothing written")
    parser.add_argument("--speed", action="store_true", help="only how long `read` takes, into the table that is there")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    fields, pages = (60, 4) if options.quick else (options.fields, options.pages)
    classifier = load(options.model)
    source = load_data("mnist", data_dir=options.data_dir)
    valid = strangers(source)
    if options.speed:
        again(speed(Bank(valid), classifier), options.out / "results")
        return
    bank = Bank(split(source).open_test() if options.split == "test" else valid)
    rng = np.random.default_rng(SEED[options.split])
    sets = {
        "Fields": [compose_field(bank, rng) for _ in range(fields)],
        "Photographed pages": [compose_page(bank, rng) for _ in range(pages)],
        "Sheets on a table": [sheet_on_table(bank, rng, number % 2 == 1) for number in range(pages)],
    }
    others, notes = rivals()
    readers = {"handwriting": ours(classifier), **others}
    started = time.perf_counter()
    results = {
        title: {name: measure(reader, pictures, title == "Fields") for name, reader in readers.items()}
        for title, pictures in sets.items()
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    told = (
        f"Composed from MNIST {options.split} digits, one writer a picture ({fields} fields, {pages} pages); written "
        f"by `benchmarks/fields.py` in {time.perf_counter() - started:.0f} s on {machine}. Exact: the whole number is "
        "right; in brackets its 95% interval (Wilson). CER: edits by characters. No length or pattern was told."
    )
    took = speed(Bank(valid), classifier)
    lines = ["# Reading numbers", "", told, ""]
    for title, tallies in results.items():
        lines += table(f"{title}", tallies, len(sets[title]))
    lines += [
        SPEED.format(**took),
        "",
    ]
    text = "\n".join([*lines, *notes]).rstrip() + "\n"
    print(text)
    if not options.quick:
        data = {
            "split": options.split,
            "speed": took,
            **{title: as_data(tallies) for title, tallies in results.items()},
        }
        write_whole(options.out / "results/fields.md", text)
        write_whole(options.out / "results/fields.json", json.dumps(data, indent=1) + "\n")
        picture_for_readme(Bank(valid), classifier, options.out / "images/read.jpg")


if __name__ == "__main__":
    main()
