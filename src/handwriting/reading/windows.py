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
    boxes = np.array([candidate.box for candidate in candidates]).reshape(-1, 4)
    lefts = np.rint((boxes[:, 0] + boxes[:, 2] / 2) / scale).astype(np.int64)  # the window's middle less the rim
    columns = lefts.clip(0, line.shape[2] - COLUMNS)[:, None] + np.arange(COLUMNS)
    start, end = (at[[getattr(own, side) for own in candidates]][:, :, None] for side in ("start", "end"))
    after = np.clip(columns[:, None] + 1.0 - start, 0, 1)
    before = np.clip(end - columns[:, None], 0, 1)
    seen = np.empty((len(candidates), 3, ROWS, COLUMNS), np.uint8)
    seen[:, 1:] = line[:, :, columns].transpose(2, 0, 1, 3)
    seen[:, 0] = np.rint(seen[:, 1] * after * before)
    return seen
