"""docs/results.md from the tables that the benchmarks wrote: python benchmarks/results.py (measures nothing itself)."""

from __future__ import annotations

import re
from pathlib import Path

from tables import RESULTS

from handwriting.files import write_whole

# In the order of the story: training, the shipped model, photos, pages, the service, a person's hand.
ORDER = (
    "classic",
    "time_to_accuracy",
    "time_to_accuracy_cuda",
    "strong",
    "startup",
    "inference",
    "digits",
    "corruptions",
    "crops",
    "fields",
    "scenes",
    "pictures",
    "fuzz_pictures",
    "serve",
    "adapt",
)
INTRODUCTION = """\
# Results

Every table below was written by the script that it names, and one command reruns it. Figures are of the machine that
the table names; these machines are shared, so trust the ratios within one run more than single times.
"""


def section(path: Path) -> str:
    """A table's file -> its text with headings one deeper and links as they read from docs/."""
    text = re.sub(r"^(#+) ", r"#\1 ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return text.replace("](../images/", "](images/").strip()


def main() -> None:
    """Gather and write."""
    rest = sorted(path.stem for path in RESULTS.glob("*.md") if path.stem not in ORDER)
    paths = [RESULTS / f"{name}.md" for name in (*ORDER, *rest)]
    sections = [section(path) for path in paths if path.is_file()]
    print(write_whole(RESULTS.parent / "results.md", "\n\n".join([INTRODUCTION.strip(), *sections]) + "\n"))


if __name__ == "__main__":
    main()
