"""Accuracy against seconds of training: the classic recipe, the PyTorch examples' recipe, `fast` and `strong`.

    python benchmarks/time_to_accuracy.py                      every row, side by side in one run
    python benchmarks/time_to_accuracy.py --rows fast strong --seeds 10 --strong-seeds 3
    python benchmarks/time_to_accuracy.py --device cuda        the same on a GPU, into a table of its own
    python benchmarks/time_to_accuracy.py --rows               table and figure anew, nothing measured

Every recipe gets its data as tensors in memory; seconds count from there to trained weights, without the pauses in
which accuracy is measured. The recipes of this package train on 48,000 images and valid (12,000) chooses the epoch; the
test part is measured along the way to draw the curves, and nothing is chosen by it. Each training is added to the
.json as it ends, so that a run that is stopped has lost one training at most; table and figure are drawn from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import examples_recipe
import numpy as np
import tables
import torch
from time_to_accuracy_report import write_figure, write_table
from torch import nn

from handwriting import data as data_room
from handwriting.data import Dataset, Splits
from handwriting.files import write_whole
from handwriting.learning import checkpoints
from handwriting.learning import device as devices
from handwriting.learning.device import native_bfloat16
from handwriting.learning.networks import Ensemble, build
from handwriting.learning.recipes import Recipe, recipe
from handwriting.learning.training import Training, infer

ROWS = ("classic", "examples", "fast", "strong")
SIZES = (6_000, 12_000, 30_000, 60_000)


def machine(device: torch.device) -> dict[str, Any]:
    """What a record says of where it was measured: the machine in words, and how busy it was."""
    bfloat16 = "with" if native_bfloat16(device) else "without"
    words = f"{tables.hardware()}, {devices.describe(device)}, {bfloat16} bfloat16, torch {torch.__version__}"
    if "OMP_WAIT_POLICY" in os.environ:  # how threads wait for each other: PASSIVE takes half as long again
        words += f", OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}"
    return {"hardware": words, "load": tables.load_average()}


def accuracy(network: nn.Module, part: Dataset, device: torch.device) -> float:
    """A network's share of right answers."""
    return float((infer(network, part.images, device).argmax(1) == part.labels).mean())


def train_ours(plan: Recipe, splits: Splits, test: Dataset, weights: Path, device: torch.device) -> dict[str, Any]:
    """One training of a recipe of this package -> its record; its best weights go to `weights`."""
    name, seed = plan.name, plan.seed
    started = time.perf_counter()
    training = Training(plan, splits.train, splits.valid, device)
    seconds = setup = time.perf_counter() - started
    curve = []
    for epoch in training.epochs():
        seconds += epoch.seconds
        if epoch.number % max(1, plan.epochs // 20) == 0:  # some 20 points draw a curve
            curve.append([seconds, accuracy(training.network, test, device)])
    training.network.load_state_dict(training.best_weights)
    final = accuracy(training.network, test, device)
    parameters = sum(value.numel() for value in training.network.parameters())
    checkpoints.save(weights / f"{name}-{seed}.safetensors", (training.best_weights, {}), keep_previous=False)
    chosen = training.history[training.best_epoch - 1]
    valid = {"valid_accuracy": chosen.valid_accuracy, "best_epoch": chosen.number, "setup_seconds": setup}
    return _record(name, seed, curve, seconds, len(training.history), final, parameters, device) | valid


def train_examples(seed: int, train: Dataset, test: Dataset, device: torch.device) -> dict[str, Any]:
    """One training of the PyTorch examples' recipe -> its record."""
    curve, parameters, seconds = [], 0, 0.0
    for network, seconds in examples_recipe.train(train, seed, device):
        curve.append([seconds, accuracy(network, test, device)])
        parameters = sum(value.numel() for value in network.parameters())
    return _record("examples", seed, curve, seconds, len(curve), curve[-1][1], parameters, device)


def _record(
    name: str,
    seed: int,
    curve: list[list[float]],
    seconds: float,
    epochs: int,
    final: float,
    parameters: int,
    device: torch.device,
) -> dict[str, Any]:
    print(f"{name} seed {seed}: {final:.2%} in {seconds:.2f} s, {epochs} epochs", flush=True)
    record = {"kind": "training", "row": name, "seed": seed, "curve": curve, "test_accuracy": final, "epochs": epochs}
    return record | {"seconds": seconds, "parameters": parameters} | machine(device)


def together(
    splits: Splits, test: Dataset, weights: Path, seeds: list[int], device: torch.device
) -> Iterator[dict[str, Any]]:
    """The trained `strong` networks, alone and as one, with and without shifted views -> records."""
    members: list[nn.Module] = []
    for seed in seeds:
        member = build("strong", len(test.classes), seed)
        member.load_state_dict(checkpoints.load(weights / f"strong-{seed}.safetensors")[0])
        members.append(member.to(device))
    groups = [[seed] for seed in range(len(members))] + [list(range(len(members)))] * (len(members) > 1)
    for group in groups:
        for views in (1, 5):
            if len(group) > 1 or views > 1:
                network = Ensemble([members[index] for index in group], views)
                name = f"strong{f', ensemble of {len(group)}' * (len(group) > 1)}{f', {views} views' * (views > 1)}"
                parts = {"test": test, "valid": splits.valid}
                found = {f"{key}_accuracy": accuracy(network, part, device) for key, part in parts.items()}
                print(f"{name}: {found}", flush=True)
                yield {"kind": "together", "row": name, "seed": seeds[group[0]]} | found | machine(device)


def growth(name: str, whole: Dataset, valid: Dataset, device: torch.device) -> Iterator[dict[str, Any]]:
    """Seconds of one epoch as the training set grows -> records."""
    for size in SIZES:
        part = whole.subset(np.arange(size))
        if name == "examples":
            _, seconds = next(examples_recipe.train(part, 11, device, epochs=1))
        else:
            few = valid.subset(np.arange(100))
            seconds = next(Training(recipe(name), part, few, device).epochs()).seconds
        print(f"{name}, {size} characters: {seconds:.2f} s an epoch", flush=True)
        yield {"kind": "growth", "row": name, "size": size, "seed": 11, "seconds": seconds} | machine(device)


def whole_process(data_dir: str | None, repeat: int, device: torch.device) -> dict[str, Any]:
    """`handwriting train --recipe fast` as a user runs it, start to exit: import, data, test, report, model file."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "handwriting", "train", "--data", "mnist", "--recipe", "fast"]
        command += [
            "--device",
            device.type,
            "--out",
            str(Path(scratch) / "run"),
            *(["--data-dir", data_dir] if data_dir else []),
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    print(f"the whole command: {seconds:.1f} s", flush=True)
    return {"kind": "process", "row": "fast", "seed": repeat, "seconds": seconds} | machine(device)


class Ledger:
    """The .json of all records: a record replaces the one of the same kind, row, seed and size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record, and write all of them."""

        def same(other: dict[str, Any]) -> bool:
            return all(other.get(key) == record.get(key) for key in ("kind", "row", "seed", "size"))

        self.records = [other for other in self.records if not same(other)] + [record]
        write_whole(self.path, "[\n" + ",\n".join(json.dumps(one) for one in self.records) + "\n]\n")


def main() -> None:
    """Measure the rows asked for, then draw the table and the figure from all that is in the .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=ROWS, help="which recipes to train")
    parser.add_argument("--seeds", type=int, default=10, help="trainings of fast")
    parser.add_argument("--slow-seeds", type=int, default=1, help="trainings of classic and of examples")
    parser.add_argument("--strong-seeds", type=int, default=3, help="trainings of strong")
    parser.add_argument("--strong-epochs", type=int, default=None, help="instead of the recipe's own, to save time")
    parser.add_argument("--no-growth", action="store_true", help="leave out the cost as the training set grows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    parser.add_argument("--data-dir", default=None, help="looked in for MNIST before HANDWRITING_DATA")
    parser.add_argument("--out", type=Path, default=tables.RESULTS, help="for the .md and .json")
    parser.add_argument("--images", type=Path, default=tables.IMAGES, help="for the figure")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parent / "out", help="where weights are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name = "time_to_accuracy" if options.device == "cpu" else f"time_to_accuracy_{options.device}"
    ledger = Ledger(options.out / f"{name}.json")
    if options.rows:
        measure(options, ledger)
    write_table(ledger.records, options.out / f"{name}.md")
    write_figure(ledger.records, options.images / f"{name}.png")


def measure(options: argparse.Namespace, ledger: Ledger) -> None:
    """Everything that was asked for, one record after the other."""
    source = data_room.load("mnist", data_dir=options.data_dir)
    splits = data_room.split(source)
    test, device = splits.open_test(), devices.choose(options.device)
    seeds = {"classic": options.slow_seeds, "examples": options.slow_seeds}
    seeds |= {"fast": options.seeds, "strong": options.strong_seeds}
    warm_up = dataclasses.replace(splits, train=splits.train.subset(np.arange(2048)))
    list(Training(recipe("fast"), warm_up.train, warm_up.valid, device).epochs())  # torch's own first-use costs
    for name in options.rows:
        for seed in range(1, seeds[name] + 1):
            if name == "examples":
                ledger.add(train_examples(seed, source.train, test, device))
            else:
                plan = recipe(name, seed=seed, epochs=options.strong_epochs if name == "strong" else None)
                ledger.add(train_ours(plan, splits, test, options.weights, device))
        if name == "fast":
            for repeat in range(3):
                ledger.add(whole_process(options.data_dir, repeat, device))
        if name == "strong" and seeds[name]:
            for record in together(splits, test, options.weights, list(range(1, seeds[name] + 1)), device):
                ledger.add(record)
        if not options.no_growth:
            for record in growth(name, source.train, splits.valid, device):
                ledger.add(record)


if __name__ == "__main__":
    main()
