"""From a photo, scan or drawing to the 28x28 that a model sees, and how it was done."""

from handwriting.imaging.ink import ink_map
from handwriting.imaging.normal import NormalForm, Step, fit_ink, normal_form
from handwriting.imaging.opening import PictureLike, open_picture
from handwriting.imaging.paper import find_paper, from_above, shrunk
from handwriting.imaging.strip import draw_strip, strip_png

__all__ = [
    "NormalForm",
    "PictureLike",
    "Step",
    "draw_strip",
    "find_paper",
    "fit_ink",
    "from_above",
    "ink_map",
    "normal_form",
    "open_picture",
    "shrunk",
    "strip_png",
]
