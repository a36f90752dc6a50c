"""Real crops in class subfolders: read right, accepted, rejected; and letters, which should be rejected.

    python benchmarks/crops.py FOLDER                      # FOLDER/3/a.png: every crop of class folder 3 shows a 3
    python benchmarks/crops.py FOLDER --letters ../shared/data/letters
    python benchmarks/crops.py --letters ../shared/data/letters
    python benchmarks/crops.py --uci                       # scikit-learn's 1,797 UCI digits, 8 x 8 pixels, as pictures
    python benchmarks/crops.py --stand-ins                 # MNIST valid and drawn digits, made to look like real crops

Every crop goes through the same door as `handwriting predict`: open, normal form, model. A subfolder's name is the
label: a digit, or anything ending in "_" and one letter for letters. Letters that many hands write like a digit
(LOOK_ALIKES) are told apart from the rest: no model can reject an O and accept a 0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tables import markdown, write

from handwriting.classifier import Classifier, Prediction, load
from handwriting.errors import PictureError
from handwriting.evaluation import wilson_interval
from handwriting.reading import read

LOOK_ALIKES = "OolISsZzB"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm"}
BATCH = 500


@dataclass(frozen=True)
class Crop:
    """One crop: the folder's label, and what the model answered (None: the file could not be read)."""

    label: str
    answer: Prediction | None


def labelled(folder: Path, limit: int | None) -> list[tuple[Path, str]]:
    """All pictures in the class subfolders with their labels; at most ``limit`` a class, evenly spread."""
    files = [
        (path, sub.name.rpartition("_")[2])
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
        for path in thinned(sorted(path for path in sub.iterdir() if path.suffix.lower() in SUFFIXES), limit)
    ]
    if not files:
        raise SystemExit(f"{folder}: no pictures in class subfolders such as {folder}/7/a.png")
    return files


def crops(folder: Path, classifier: Classifier, limit: int | None) -> list[Crop]:
    """The pictures that `labelled` finds, answered."""
    files, found = labelled(folder, limit), []
    for start in range(0, len(files), BATCH):
        part = files[start : start + BATCH]
        answers = classifier.predict_each([path for path, _ in part])
        for (path, label), answer in zip(part, answers, strict=True):
            if isinstance(answer, PictureError):
                print(f"skipped {path}: {answer}")
            found.append(Crop(label, None if isinstance(answer, PictureError) else answer))
    return found


def thinned(files: Sequence[Path], limit: int | None) -> list[Path]:
    """At most ``limit`` files, evenly spread."""
    if limit is None or len(files) <= limit:
        return list(files)
    return [files[index * len(files) // limit] for index in range(limit)]


def write_uci(folder: Path) -> Path:
    """scikit-learn's UCI optical digits (8 x 8, light ink on dark, 17 levels) -> PNG files in class subfolders."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for index, (levels, label) in enumerate(zip(data.images, data.target, strict=True)):
        sub = folder / str(label)
        sub.mkdir(exist_ok=True)
        Image.fromarray((levels * (255 / 16)).round().astype("uint8")).save(sub / f"{index:04}.png")
    return folder


def stand_ins_report(classifier: Classifier, limit: int | None) -> tuple[str, list[dict[str, object]]]:
    """Digits of MNIST valid and drawn ones, seen as 28x28 and as other people's pictures -> what the door loses."""
    import numpy as np
    from stand_ins import KINDS, digits_of  # torch draws some of them

    rows, figures = [], []
    for number, (name, source, make, count) in enumerate(KINDS):
        n = count if limit is None else 10 * limit
        digits = digits_of(source, n, seed=number)
        labels = np.array([digit.label for digit in digits])
        plain = classifier.scores(np.stack([digit.image for digit in digits])).probabilities.argmax(1) == labels
        right, kept, both = 0, 0, 0
        rng = np.random.default_rng(number)
        for start in range(0, n, BATCH):
            part = digits[start : start + BATCH]
            for digit, answer in zip(part, classifier.predict([make(digit, rng) for digit in part]), strict=True):
                right += answer.label == str(digit.label)
                kept += not answer.rejected
                both += answer.label == str(digit.label) and not answer.rejected
        rows.append([f"{name}, {source}", n, f"{plain.mean():.2%}", share(right, n), f"{kept / n:.1%}", share(both, n)])
        figures.append({"kind": name, "source": source, "n": n, "as_28x28": float(plain.mean())})
        figures[-1] |= {"right": right / n, "accepted": kept / n, "right_and_accepted": both / n}
    header = ["stand-ins for", "n", "the same as 28x28", "right", "accepted", "right and accepted"]
    note = "Shares with 95% Wilson intervals; `benchmarks/stand_ins.py` says how each kind is made.\n\n"
    return note + markdown(header, rows), figures


def share(part: int, whole: int) -> str:
    """A share with its 95% Wilson interval."""
    low, high = wilson_interval(part, whole)
    return f"{part / max(whole, 1):.2%} ({low:.2%} to {high:.2%})"


def digits_report(found: list[Crop], classes: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """Crops of digits -> the text and figures: accuracy, what was accepted, what was taken for what."""
    read = [(crop.label, crop.answer) for crop in found if crop.answer is not None]
    right = sum(answer.label == label for label, answer in read)
    kept = [(label, answer) for label, answer in read if not answer.rejected]
    kept_right = sum(answer.label == label for label, answer in kept)
    rows = [
        ["all crops, no answer left out", len(found), share(right, len(found))],
        ["accepted", len(found), share(len(kept), len(found))],
        ["right among the accepted", len(kept), share(kept_right, len(kept))],
    ]
    counts = {true: Counter(answer.label for label, answer in read if label == true) for true in classes}
    table = [[true, *(counts[true][label] or "" for label in (*classes, None))] for true in classes]
    text = markdown(["digits", "n", "share (95% Wilson)"], rows)
    text += "\nRows: what was written; columns: what was read, whether accepted or not.\n\n"
    text += markdown(["", *classes, "nothing"], table)
    figures = {
        "n": len(found),
        "accuracy": right / len(found),
        "accuracy_ci95": wilson_interval(right, len(found)),
        "accepted": len(kept) / len(found),
        "accuracy_of_accepted": kept_right / max(len(kept), 1),
        "confusion": {true: {str(label): n for label, n in counts[true].items()} for true in classes},
    }
    return text, figures


def letters_report(found: list[Crop]) -> tuple[str, dict[str, object]]:
    """Crops of letters -> how many were accepted as digits, look-alikes apart, and the letters accepted most."""
    taken = Counter(crop.label for crop in found if crop.answer is not None and not crop.answer.rejected)
    total = Counter(crop.label for crop in found)
    as_digit = {
        letter: Counter(crop.answer.label for crop in found if crop.label == letter and crop.answer).most_common(1)[0][
            0
        ]
        for letter in taken
    }
    rows: list[list[object]] = []
    figures: dict[str, object] = {}
    for name, letters in (
        ("letters, look-alikes apart", [letter for letter in total if letter not in LOOK_ALIKES]),
        (f"look-alikes ({' '.join(LOOK_ALIKES)})", [letter for letter in total if letter in LOOK_ALIKES]),
    ):
        n, accepted = sum(total[letter] for letter in letters), sum(taken[letter] for letter in letters)
        rows.append([name, n, share(accepted, n)])
        figures[name] = {"n": n, "accepted": accepted / max(n, 1)}
    most = [
        [letter, total[letter], f"{taken[letter] / total[letter]:.0%}", as_digit[letter]]
        for letter in sorted(taken, key=lambda letter: -taken[letter] / total[letter])
        if letter not in LOOK_ALIKES and taken[letter] / total[letter] >= 0.05
    ]
    text = markdown(["accepted as digits", "n", "share (95% Wilson)"], rows)
    text += "\nLetters accepted most often (5% and more):\n\n" + markdown(
        ["letter", "n", "accepted", "mostly as"], most
    )
    return text, {**figures, "by_letter": {letter: taken[letter] / total[letter] for letter in sorted(total)}}


def read_report(folder: Path, classifier: Classifier, limit: int | None) -> tuple[str, dict[str, object]]:
    """The same crops through `read` -> how many of them gave any digit that is not rejected, look-alikes apart."""
    files = labelled(folder, limit)
    some = [
        any(not character.rejected for line in page.lines for character in line.characters)
        for page in read([path for path, _ in files], model=classifier)
    ]
    rows: list[list[object]] = []
    figures: dict[str, object] = {}
    for name, alike in (("letters, look-alikes apart", False), ("look-alikes", True)):
        own = [got for (_, label), got in zip(files, some, strict=True) if (label in LOOK_ALIKES) == alike]
        rows.append([name, len(own), share(sum(own), len(own))])
        figures[name] = {"n": len(own), "some_digit": sum(own) / max(len(own), 1)}
    return markdown(["read as some digit", "n", "share (95% Wilson)"], rows), figures


def main() -> None:
    """Measure and write docs/results/crops.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="real crops of digits in class subfolders")
    parser.add_argument("--letters", type=Path, help="real crops of letters in subfolders such as upper_A")
    parser.add_argument("--uci", action="store_true", help="scikit-learn's 8 x 8 digits too")
    parser.add_argument("--stand-ins", action="store_true", help="pictures made from MNIST valid and drawn digits too")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--quick", action="store_true", help="at most 5 crops a class, nothing written")
    options = parser.parse_args()
    if options.folder is None and options.letters is None and not options.uci and not options.stand_ins:
        parser.error("give a folder of digits, or --letters, --uci or --stand-ins, or several")
    classifier, limit = load(options.model), 5 if options.quick else None
    parts: list[str] = []
    figures: dict[str, object] = {"model": options.model, "reject_below": classifier.reject_below}
    if options.folder:
        text, figures["digits"] = digits_report(crops(options.folder, classifier, limit), classifier.classes)
        parts.append(f"## Digits: {options.folder.name}\n\n{text}")
    if options.uci:
        with tempfile.TemporaryDirectory() as folder:
            text, figures["uci"] = digits_report(crops(write_uci(Path(folder)), classifier, limit), classifier.classes)
        parts.append(f"## UCI optical digits (8 x 8 pixels, never trained on)\n\n{text}")
    if options.stand_ins:
        text, figures["stand_ins"] = stand_ins_report(classifier, limit)
        parts.append(f"## Digits whose 28x28 is known, as other people's pictures\n\n{text}")
    if options.letters:
        text, figures["letters"] = letters_report(crops(options.letters, classifier, limit))
        parts.append(f"## Letters\n\n{text}")
        text, figures["letters_read"] = read_report(options.letters, classifier, limit)
        parts.append(f"The same letters through `read`, where any accepted digit counts:\n\n{text}")
    print("\n".join(parts))
    if not options.quick:
        threshold = f"Rejected: character below {classifier.reject_below}, the model's own threshold.\n\n"
        write(
            "crops", "Real crops through the same door as `handwriting predict`", threshold + "\n".join(parts), figures
        )


if __name__ == "__main__":
    main()
