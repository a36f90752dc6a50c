"""A list of 1,000 pictures through `predict`, beside the peer's API, one picture a call: milliseconds a picture.

    python benchmarks/pictures.py [--threads N] [--rounds 5]     # --quick: does it run? (100 pictures, nothing written)

The pictures: arrays of 28 x 28 as a model sees them, the same as PNG files, and stand-ins for pen crops (JPEG, 30 to 70
pixels; benchmarks/stand_ins.py). Rounds take turns. The peer: `pip install --no-deps digit-recognizer-py`.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import peer
import torch
from PIL import Image
from stand_ins import mnist_digits, pen_crop
from tables import markdown, write

from handwriting.classifier import load
from handwriting.evaluation import wilson_interval

PAUSE = 0.2  # seconds: threads of the model that answered before spin a while, waiting for more


def png(image: Any) -> bytes:
    """uint8 (h, w) -> a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def seconds(answer: Callable[[Sequence[Any]], Sequence[int]], pictures: Sequence[Any]) -> float:
    """How long it takes to answer them all."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    answer(pictures)
    return time.perf_counter() - started


def main() -> None:
    """Measure and write docs/results/pictures.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="100 pictures, 2 rounds, nothing written")
    options = parser.parse_args()
    count, rounds = (100, 2) if options.quick else (1000, options.rounds)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)  # pictures are spread over threads, not their pixels
    rng = np.random.default_rng(0)
    digits = mnist_digits(count, rng)
    kinds: dict[str, list[Any]] = {
        "arrays, 28 x 28": [digit.image for digit in digits],
        "PNG files, 28 x 28": [png(digit.image) for digit in digits],
        "JPEG files, pen crops of 30 to 70 pixels": [pen_crop(digit, rng) for digit in digits],
    }
    ours, theirs = load("digits", threads=options.threads), peer.recognizer()
    answers: dict[str, Callable[[Sequence[Any]], Sequence[int]]] = {
        "handwriting": lambda pictures: [int(a.label or -1) for a in ours.predict(list(pictures))],
        "digit-recognizer-py": lambda pictures: [int(theirs.predict(picture)) for picture in pictures],
    }
    rows, figures = [], {}
    for kind, pictures in kinds.items():
        right = {n: sum(g == d.label for g, d in zip(answers[n](pictures), digits, strict=True)) for n in answers}
        times: dict[str, list[float]] = {name: [] for name in answers}
        for _ in range(rounds):
            for name, answer in answers.items():
                times[name].append(1000 * seconds(answer, pictures) / count)
        middle = {name: float(np.median(found)) for name, found in times.items()}
        for name, found in times.items():
            low, high = wilson_interval(right[name], count)
            spread = f"{middle[name]:.3f} ({min(found):.3f} to {max(found):.3f})"
            rows.append([f"{kind}: {name}", spread, f"{right[name] / count:.1%} ({low:.1%} to {high:.1%})"])
        rows.append([f"{kind}: times as fast", f"{middle['digit-recognizer-py'] / middle['handwriting']:.1f}", ""])
        figures[kind] = {"milliseconds": times, "right": right}
    text = (
        f"Median of {rounds} rounds (fastest to slowest), n = {count:,} pictures a round, {options.threads} threads. "
        "The peer's API takes one picture a call and shrinks it to 28 x 28 as it is; ours finds the character first, "
        "except in arrays of 28 x 28.\n\n"
    ) + markdown(["pictures", "milliseconds a picture", "right (95% Wilson)"], rows)
    print(text)
    if not options.quick:
        write("pictures", "1,000 pictures in one call", text, {"n": count, "threads": options.threads, **figures})


if __name__ == "__main__":
    main()
