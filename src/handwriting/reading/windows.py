"""A line's candidates, each seen in the line around it, as the window network sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handwriting.reading.lines import Strip
from handwriting.reading.pieces import Candidate, Cuts
from handwriting.reading.ribbon import straightened
from handwriting.reading.sheet import Sheet

HEIGHT = 28  # pixels that the line's characters are brought to
ROWS, COLUMNS = 44, 48  # of a window


def windows(sheet: Sheet, strip: Strip, cuts: Cuts, candidates: list[Candidate]) -> NDArray[np.uint8]:
    """A line and n of its candidates -> uint8 (n, 3, ROWS, COLUMNS), the candidate in the middle.

    The line's own ink between the candidate's cuts; all of the line's own ink; all ink that lies there, rules too.
    """
    line = straightened(sheet, strip, HEIGHT, ROWS, COLUMNS // 2).image
    scale = strip.height / HEIGHT
    high = cuts.paths.shape[1]
    # Each cut's column in each row of the window, rows taken where the line's middle is at the cut.
    middles = strip.middle + strip.slope * cuts.paths.mean(1)
    rows = np.rint(middles[:, None] + (np.arange(ROWS) + 0.5 - ROWS / 2) * scale - 0.5).astype(np.int64)
    at = np.take_along_axis(cuts.paths, rows.clip(0, high - 1), 1) / scale + COLUMNS // 2
    seen = np.empty((len(candidates), 3, ROWS, COLUMNS), np.uint8)
    for window, candidate in zip(seen, candidates, strict=True):
        x, _, wide, _ = candidate.box
        left = round((x + wide / 2) / scale)  # the window's middle less the rim
        left = min(max(left, 0), line.shape[2] - COLUMNS)
        columns = left + np.arange(COLUMNS) + 0.5
        after = np.clip(columns - at[candidate.start][:, None] + 0.5, 0, 1)
        before = np.clip(at[candidate.end][:, None] - columns + 0.5, 0, 1)
        window[1:] = line[:, :, left : left + COLUMNS]
        window[0] = np.rint(window[1] * after * before)
    return seen
