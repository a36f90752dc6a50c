"""What every benchmark writes: a Markdown table with its hardware and n, and the same figures as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handwriting.files import write_whole

RESULTS = Path(__file__).parents[1] / "docs/results"
IMAGES = Path(__file__).parents[1] / "docs/images"


def hardware() -> str:
    """The processor, its cores that this process may use, memory and Python, for the line under a table."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        name = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line), name
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def load_average() -> str:
    """How busy the machine was over the last minute: timings taken beside other work are worth less."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A header and rows -> a Markdown table; numbers stand right."""
    align = ["---" if index == 0 else "---:" for index in range(len(header))]
    lines = [header, align, *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def write(name: str, title: str, text: str, figures: dict[str, Any], folder: Path = RESULTS) -> None:
    """``docs/results/<name>.md`` and ``.json``: what was measured, when, on what, by which command."""
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    stamp = f"{hardware()}, {day}, {load_average()} when it ended. Written by `{command}`."
    write_whole(folder / f"{name}.md", f"# {title}\n\n{text.strip()}\n\n{stamp}\n")
    document = {"measured": day, "hardware": hardware(), "command": command, **figures}
    write_whole(folder / f"{name}.json", json.dumps(document, indent=1) + "\n")
    print(f"wrote {folder / name}.md and .json")
