"""How fast the shipped model answers: images a second, and a whole `handwriting predict` process, beside the peer.

    python benchmarks/inference.py                 # MNIST test for accuracy; timings of 9 rounds
    python benchmarks/inference.py --quick         # does it run? (300 valid images, 2 rounds)

Rounds take turns between the competitors, so that other work on the machine hits all alike; medians are given, with
the fastest and slowest round. On a busy machine take `--threads 1`: OpenMP's threads wait for each other. Needs the
extra `train`; the peer by `pip install --no-deps digit-recognizer-py` (benchmarks/peer.py says how its code runs here).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peer
import torch
from numpy.typing import NDArray
from PIL import Image
from tables import hardware, markdown, write

from handwriting.classifier import as_input, load, quiet_session
from handwriting.data import load as load_data
from handwriting.data import split
from handwriting.learning.digits import DigitsNetwork
from handwriting.learning.export import to_onnx

BATCHES = (1, 32, 1000)
Images = NDArray[np.uint8]
Answer = Callable[[Images], Any]  # uint8 (N, 28, 28) -> logits (N, 10)


def shipped(threads: int) -> Answer:
    """The package's own door for arrays, scores and reject head included."""
    classifier = load("digits", threads=threads)
    return lambda images: classifier.scores(images).probabilities


def eager() -> Answer:
    """The same network in torch, eager, in float32; its weights do not change its speed."""
    network = DigitsNetwork().eval()

    def answer(images: Images) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(images).float().div_(255))[0].numpy()

    return answer


def float32(threads: int) -> Answer:
    """The same network in onnxruntime, in float32 as before its convolutions are put into 8 bits; with any weights."""
    session = quiet_session(to_onnx(DigitsNetwork(), ("logits", "character")), threads)
    return lambda images: session.run(["logits"], {"images": as_input(images)})[0]


def peer_network(recognizer: Any) -> Answer:
    """The peer's network on batches, which its API does not offer; normalised as its transforms do."""

    def answer(images: Images) -> Any:
        with torch.no_grad():
            pixels = (torch.from_numpy(images).float().div_(255).unsqueeze(1) - 0.1307) / 0.3081
            return recognizer.model(pixels).numpy()

    return answer


def peer_api(recognizer: Any) -> Answer:
    """The peer's API as it is: one picture a call."""
    return lambda images: np.array([recognizer.predict_proba(Image.fromarray(image)) for image in images])


def rates(answers: dict[str, Answer], images: Images, rounds: int) -> dict[str, dict[int, list[float]]]:
    """Images a second of each competitor by batch size, one number a round."""
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in BATCHES} for name in answers}
    for name in answers:
        answers[name](images[:32])  # first calls allocate
    for _ in range(rounds):
        for size in BATCHES:
            for name, answer in answers.items():
                one_by_one = name.endswith("API")
                batch = images[: min(size, 100) if one_by_one else size]
                calls = max(1, (100 if one_by_one else 400) // len(batch))
                started = time.perf_counter()
                for _ in range(calls):
                    answer(batch)
                found[name][size].append(calls * len(batch) / (time.perf_counter() - started))
    return found


# A child's peak includes what its parent held when it forked, so a small process stands between.
LAUNCHER = """
import os, resource, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(time.perf_counter() - started, usage.ru_maxrss, child.returncode)
"""


def process(command: list[str], path: str) -> tuple[float, float]:
    """Run a command -> wall seconds, peak memory in MB (maximum resident set of the process)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))}
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, check=True)
    seconds, peak, code = done.stdout.split()
    if int(code):
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    return float(seconds), float(peak) / (1024 if sys.platform == "linux" else 1024**2)


def processes(picture: Path, rounds: int, *, with_peer: bool) -> dict[str, list[tuple[float, float]]]:
    """Whole processes that read one picture, in turns."""
    commands = {"handwriting predict": ([sys.executable, "-m", "handwriting", "predict", str(picture)], "")}
    if with_peer:
        program = "from digit_recognizer.cli import main; main()"  # what its console script does
        commands["digit-recognizer"] = ([sys.executable, "-c", program, str(picture)], peer.stand_in())
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, (command, path) in commands.items():
            measured = process(command, path)
            if turn:  # the first fills the file cache
                found[name].append(measured)
    return found


def spread(values: list[float], digits: int = 0) -> str:
    """Median (lowest to highest)."""
    return f"{np.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def photo_of(image: Images, folder: Path) -> Path:
    """A picture as users have it: 400 x 400, dark ink on light paper."""
    path = folder / "digit.png"
    Image.fromarray(235 - (image.astype(np.int64) * 4 // 5).astype(np.uint8)).resize((400, 400)).save(path)
    return path


def main() -> None:
    """Measure and write docs/results/inference.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="300 valid images, 2 rounds, nothing written")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    torch.set_num_threads(options.threads)
    splits = split(load_data("mnist"))
    part = splits.valid.subset(np.arange(1000)) if options.quick else splits.open_test()
    ours = shipped(options.threads)
    answers = {
        "shipped `digits`, onnxruntime": ours,
        "the same network in float32, onnxruntime": float32(options.threads),
        "the same network in float32, torch eager": eager(),
    }
    with_peer = importlib.util.find_spec("digit_recognizer") is not None
    if with_peer:
        recognizer = peer.recognizer()
        answers["digit-recognizer-py, its network in batches"] = peer_network(recognizer)
        answers["digit-recognizer-py, its API"] = peer_api(recognizer)
    found = rates(answers, part.images[:1000], rounds)
    accuracy = {
        name: float(np.mean([(answer(p).argmax(1) == y).mean() for p, y in batches(part.images, part.labels)]))
        for name, answer in answers.items()
        if "float32" not in name
    }
    with tempfile.TemporaryDirectory() as folder:
        whole = processes(photo_of(part.images[0], Path(folder)), rounds, with_peer=with_peer)
    header = ["images a second, batch of", *map(str, BATCHES), "accuracy"]
    rows = [
        [
            name,
            *(spread(found[name][size]) for size in BATCHES),
            f"{accuracy[name]:.2%}" if name in accuracy else "",
        ]
        for name in answers
    ]
    wall = [[name, spread([s for s, _ in runs], 2), spread([mb for _, mb in runs])] for name, runs in whole.items()]
    text = (
        f"Median of {rounds} rounds (fastest to slowest), {options.threads} threads; accuracy on n = {len(part):,} "
        f"MNIST {'valid' if options.quick else 'test'} images. {hardware()}.\n\n{markdown(header, rows)}\n"
        f"A whole process that reads one 400 x 400 PNG, start to exit, {rounds} runs each:\n\n"
        f"{markdown(['command', 'wall seconds', 'peak memory, MB'], wall)}\n"
    )
    if with_peer:
        text += (
            "The peer's own, unmodified code; torchvision "
            + ("is replaced by a stand-in of its four transforms over Pillow, so the peer is not charged for importing "
               "it." if peer.stand_in() else "is installed.")
            + "\n"
        )  # fmt: skip
    else:
        text += "digit-recognizer-py was not installed and is left out.\n"
    print(text)
    if not options.quick:
        figures = {"rates": found, "accuracy": accuracy, "processes": whole, "n": len(part), "rounds": rounds}
        write("inference", "Speed of answering", text, figures)


def batches(images: Images, labels: NDArray[np.int64]) -> list[tuple[Images, NDArray[np.int64]]]:
    """Equal batches of 1,000 (or fewer images as one)."""
    count = max(1, len(images) // 1000)
    return list(zip(np.array_split(images, count), np.array_split(labels, count), strict=True))


if __name__ == "__main__":
    main()
