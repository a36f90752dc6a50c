"""The table and the figure of time_to_accuracy.py, from its records."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from handwriting.evaluation import plots
from handwriting.files import write_whole

TITLES = {"classic": "`classic`", "examples": "PyTorch examples", "fast": "`fast`", "strong": "`strong`"}
_COLOURS = {"classic": "#4c78a8", "examples": "#9d755d", "fast": "#54a24b", "strong": "#e45756"}
_GOAL = 0.99
Records = list[dict[str, Any]]


def spread(values: list[float], form: str = "{:.2f}", unit: str = "") -> str:
    """Numbers -> their mean, and their standard deviation where there are several."""
    mean = form.format(statistics.mean(values))
    return mean + (f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else "") + unit


def percent(values: list[float]) -> str:
    """Shares -> their mean and standard deviation in per cent."""
    return spread([100 * value for value in values], unit="%")


def reached(curve: list[list[float]], goal: float = _GOAL) -> float | None:
    """A curve of (seconds, test accuracy) -> the seconds of its first point at the goal."""
    return next((point[0] for point in curve if point[1] >= goal), None)


def write_table(records: Records, path: Path) -> None:
    """Write the tables in Markdown. Raises SaveError."""
    trainings = {
        row: [one for one in records if one["kind"] == "training" and one["row"] == row]
        for row in TITLES
        if any(one["kind"] == "training" and one["row"] == row for one in records)
    }
    where = "" if any("cpu," in one["hardware"] for one in records) else " on a GPU"
    lines = [f"# Seconds to accuracy{where}", "", f"![accuracy over seconds](../images/{path.stem}.png)", ""]
    lines += [*_main_table(trainings), "", *_every_seed(trainings)]
    missing = [title for row, title in TITLES.items() if row not in trainings]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    for title, part in (
        ("Members and views of the same `strong` networks", _together(records)),
        ("Seconds of one epoch as the training set grows", _growth(records)),
    ):
        lines += ["", f"**{title}**", "", *part] if part else []
    processes = [one["seconds"] for one in records if one["kind"] == "process"]
    if processes:
        lines += [
            "",
            "`handwriting train --data mnist --recipe fast` as a whole process, from start to exit (import, data, "
            f"training, test, figures, report, model file): {spread(processes, '{:.1f}')} s, n = {len(processes)}.",
        ]
    machines: dict[str, list[str]] = {}
    for one in records:
        name = one["row"].split(",")[0]
        if name not in machines.setdefault(one["hardware"], []):
            machines[one["hardware"]].append(name)
    places = [f"{', '.join(sorted(rows))}: {place}" for place, rows in machines.items()]
    lines += ["", f"Hardware: {'; '.join(places)}. The load beside each record is in the .json."]
    lines.append("")
    write_whole(path, "\n".join(lines))


def _main_table(trainings: dict[str, Records]) -> list[str]:
    lines = [
        "| recipe | n | threads | epochs | seconds an epoch | seconds in all | seconds to 99.0% | test accuracy |"
        " parameters | classic's time / its |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    # Times are compared only on the same machine with as many threads.
    classic = {
        place: statistics.mean(one["seconds"] for one in trainings["classic"] if one["hardware"] == place)
        for place in {one["hardware"] for one in trainings.get("classic", [])}
    }
    for row, runs in trainings.items():
        seconds = [one["seconds"] for one in runs]
        times = [reached(one["curve"]) for one in runs]
        there = [time for time in times if time is not None]
        missing = f" ({len(runs) - len(there)} of {len(runs)} never)" if len(there) < len(runs) else ""
        place = runs[0]["hardware"]
        ratio = f"{classic[place] / statistics.mean(seconds):.3g}" if place in classic else ""
        threads = re.search(r"(\d+) threads", place)
        cells = [TITLES[row], str(len(runs)), threads[1] if threads else "GPU", str(max(one["epochs"] for one in runs))]
        cells += [spread([one["seconds"] / one["epochs"] for one in runs]), spread(seconds)]
        cells += [(spread(there) if there else "") + missing, percent([one["test_accuracy"] for one in runs])]
        lines.append("| " + " | ".join([*cells, f"{runs[0]['parameters']:,}", ratio]) + " |")
    return lines


def _every_seed(trainings: dict[str, Records]) -> list[str]:
    """Each seed's test accuracy: none is dropped."""
    return [
        f"{TITLES[row]}, each seed: " + ", ".join(f"{one['test_accuracy']:.2%}" for one in runs) + ".  "
        for row, runs in trainings.items()
        if len(runs) > 1
    ]


def _together(records: Records) -> list[str]:
    rows = [one for one in records if one["kind"] == "together"]
    if not rows:
        return []
    lines = ["| | n | valid accuracy | test accuracy |", "|---|---|---|---|"]
    for name in dict.fromkeys(one["row"] for one in rows):
        runs = [one for one in rows if one["row"] == name]
        cells = [percent([one[f"{part}_accuracy"] for one in runs]) for part in ("valid", "test")]
        lines.append(f"| {name} | {len(runs)} | {cells[0]} | {cells[1]} |")
    return lines


def _growth(records: Records) -> list[str]:
    rows = [one for one in records if one["kind"] == "growth"]
    if not rows:
        return []
    sizes = sorted({one["size"] for one in rows})
    lines = ["| characters | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    for row in (row for row in TITLES if any(one["row"] == row for one in rows)):
        found = {one["size"]: f"{one['seconds']:.2f}" for one in rows if one["row"] == row}
        lines.append(f"| {TITLES[row]} | " + " | ".join(found.get(size, "") for size in sizes) + " |")
    return lines


def write_figure(records: Records, path: Path) -> None:
    """Draw test accuracy over seconds of training, one line a training. Raises SaveError."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    named: set[str] = set()
    for one in records:
        if one["kind"] != "training":
            continue
        label = TITLES[one["row"]].strip("`") if one["row"] not in named else None
        named.add(one["row"])
        seconds, accuracies = zip(*((point[0], 100 * point[1]) for point in one["curve"]), strict=True)
        colour = _COLOURS[one["row"]]
        axes.plot(seconds, accuracies, marker="o", markersize=3, linewidth=1, alpha=0.7, color=colour, label=label)
    axes.axhline(100 * _GOAL, color="#888888", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel="seconds of training (log)", ylabel="test accuracy, %", ylim=(97, 100))
    axes.set_title("Every training, measured along the way; nothing was chosen by the test part")
    axes.legend()
    plots.save(figure, path)
