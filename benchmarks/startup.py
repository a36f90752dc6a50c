"""How long a user waits for a command: the wall time and peak memory of whole processes, import to exit.

    python benchmarks/startup.py [--runs 20]

Goals (issue 2): `handwriting --help` in under 0.5 s, `handwriting predict` of one picture in under 0.8 s.
Writes docs/results/startup.md and .json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from tables import load_average, markdown, write

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "seven.jpg"
COMMANDS = {
    "handwriting --help": ["--help"],
    "handwriting predict seven.jpg": ["predict", str(PICTURE)],
    "handwriting data list": ["data", "list"],
}


def once(arguments: list[str]) -> tuple[float, float]:
    """Arguments -> wall seconds and peak resident megabytes of one process. Raises RuntimeError when it fails."""
    command = [sys.executable, "-m", "handwriting", *arguments]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    started = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_DUP2, nowhere, 1), (os.POSIX_SPAWN_DUP2, nowhere, 2)]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    os.close(nowhere)
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="counted runs of each command, after one warm-up")
    runs = parser.parse_args().runs
    before = load_average()
    figures, rows = {}, []
    for name, arguments in COMMANDS.items():
        once(arguments)
        measured = [once(arguments) for _ in range(runs)]
        seconds, megabytes = zip(*measured, strict=True)
        figures[name] = {"seconds": seconds, "megabytes": megabytes}
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        rows.append((f"`{name}`", f"{middle:.3f} s", f"{low:.3f} to {high:.3f} s", f"{max(megabytes):.0f} MB", runs))
    table = markdown(("command", "median", "range", "peak memory", "n"), rows)
    text = (
        f"Wall time of whole processes, import to exit, and peak resident memory.\n\n{table}\n{before} when it began."
    )
    write("startup", "Starting", text, figures)


if __name__ == "__main__":
    main()
