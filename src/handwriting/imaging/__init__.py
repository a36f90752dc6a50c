"""From a photo, scan or drawing to the 28x28 that a model sees, and how it was done."""

from handwriting.imaging.ink import ink_map
from handwriting.imaging.normal import NormalForm, Step, fit_ink, normal_form, normalised
from handwriting.imaging.opening import PictureLike, open_picture
from handwriting.imaging.paper import Paper, find_paper, paper_alone, shrunk
from handwriting.imaging.strip import draw_strip, strip_png

__all__ = [
    "NormalForm",
    "Paper",
    "PictureLike",
    "Step",
    "draw_strip",
    "find_paper",
    "fit_ink",
    "ink_map",
    "normal_form",
    "normalised",
    "open_picture",
    "paper_alone",
    "shrunk",
    "strip_png",
]
