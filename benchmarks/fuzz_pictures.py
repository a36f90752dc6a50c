"""10,000 mutated picture files through `open_picture` and `normal_form`: crashes, hangs over 5 s, growth of memory.

    python benchmarks/fuzz_pictures.py [--files 10000] [--seed 0]     # --quick: 300 files, nothing written

Allowed: a picture, or `PictureError` in one line. Anything else, and a file that takes over 5 s, is listed with the
seed that makes it again. Each file is opened in this process: a crash of a decoder would end it, and show.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
from PIL import Image
from tables import markdown, write

from handwriting.errors import PictureError
from handwriting.imaging import normal_form, open_picture

HANG = 5.0


def seeds() -> list[bytes]:
    """Small whole files of every format and many modes, one with EXIF, made here."""
    ys, xs = np.mgrid[0:40, 0:48]
    grey = np.where(np.hypot(ys - 20, xs - 24) // 4 == 3, 30, 220).astype(np.uint8)
    picture = Image.fromarray(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    compressions = ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg")
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        *((mode, "PNG", {}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA")),
        ("L", "JPEG", {"exif": exif}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGB", "WEBP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        *((mode, "BMP", {}) for mode in ("1", "L", "P", "RGB")),
        *[("L", "TIFF", {"compression": compression}) for compression in compressions],
        ("1", "TIFF", {"compression": "group4"}),
        ("P", "GIF", {}),
        ("L", "PPM", {}),
    ]
    files = []
    for mode, kind, options in kinds:
        file = io.BytesIO()
        picture.convert(mode).save(file, kind, **options)
        files.append(file.getvalue())
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(file, "PNG")
    return [*files, file.getvalue()]


def mutated(files: list[bytes], seed: int) -> bytes:
    """One of the files with bytes changed, cut, doubled, zeroed or spliced with another file."""
    rng = np.random.default_rng(seed)
    content = bytearray(files[rng.integers(len(files))])
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(len(content)))
        length = int(rng.integers(1, 64))
        match int(rng.integers(6)):
            case 0:
                for at in rng.integers(0, len(content), int(rng.integers(1, 12))):
                    content[at] = int(rng.integers(256))
            case 1:
                del content[max(1, start) :]
            case 2:
                content[start:start] = content[start : start + length]
            case 3:
                content[start : start + length] = bytes(len(content[start : start + length]))
            case 4:
                other = files[rng.integers(len(files))]
                content[start:] = other[min(start, len(other) - 1) :]
            case _:  # headers: sizes and offsets are in the first bytes
                content[int(rng.integers(min(64, len(content))))] = int(rng.choice([0, 1, 127, 128, 255]))
    return bytes(content)


def outcomes(count: int, seed: int) -> Iterator[tuple[int, str, float]]:
    """Yields (seed, what happened, seconds) for each file."""
    files = seeds()
    for number in range(seed, seed + count):
        content = mutated(files, number)
        before = time.perf_counter()
        try:
            normal_form(open_picture(content, max_pixels=5_000_000))
            outcome = "picture"
        except PictureError as error:
            outcome = "refused" if "\n" not in str(error) else "refused in several lines"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            outcome = f"{type(error).__name__}: {error}"[:200]
        yield number, outcome, time.perf_counter() - before


def resident_mb() -> float:
    """Resident memory of this process now, MB."""
    return float(psutil.Process().memory_info().rss) / (1 << 20)


def main() -> None:
    """Runs, writes docs/results/fuzz_pictures.md and .json; exit status 1 when something was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="300 files, nothing written")
    chosen = options.parse_args()
    chosen.files = 300 if chosen.quick else chosen.files
    counts: Counter[str] = Counter()
    found: list[str] = []
    slowest, memory = 0.0, []
    for number, (seed, outcome, seconds) in enumerate(outcomes(chosen.files, chosen.seed)):
        counts[outcome if outcome in ("picture", "refused") else "other"] += 1
        slowest = max(slowest, seconds)
        if outcome not in ("picture", "refused") or seconds > HANG:
            found.append(f"seed {seed}: {outcome} ({seconds:.1f} s)")
        if (number + 1) % max(chosen.files // 10, 1) == 0:
            memory.append(resident_mb())
    rows: list[list[object]] = [
        ["opened, and a normal form made", counts["picture"]],
        ["refused in one line", counts["refused"]],
        ["anything else, or over 5 s", len(found)],
        ["slowest file, seconds", f"{slowest:.2f}"],
        ["memory after each tenth of the files, MB", ", ".join(f"{value:.0f}" for value in memory)],
    ]
    text = markdown([f"of {chosen.files:,} mutated files (seeds from {chosen.seed})", "n"], rows)
    text += "".join(f"\n- {finding}" for finding in found)
    print(text)
    if not chosen.quick:
        figures = {"files": chosen.files, "seed": chosen.seed, **counts, "findings": found, "slowest": slowest}
        figures |= {"memory_mb_after_each_tenth": memory}
        write("fuzz_pictures", "Damaged picture files", text, figures)
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
