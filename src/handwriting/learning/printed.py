"""Characters of print, in the fonts that come with matplotlib: forms and letterheads set them beside handwriting."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handwriting.imaging import fit_ink

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
_SIZE = 64  # pixels of a font's em: fine enough to be averaged down to 20


@lru_cache
def printed(characters: str) -> NDArray[np.uint8]:
    """n letters or digits -> uint8 (len(FONTS), n, 28, 28): each in each font, in MNIST's normal form."""
    from matplotlib import get_data_path

    fonts = [ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", _SIZE) for name in FONTS]
    return np.array([[fit_ink(_ink(character, font)) for character in characters] for font in fonts])


def _ink(character: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    canvas = Image.new("L", (3 * _SIZE, 3 * _SIZE))
    ImageDraw.Draw(canvas).text((_SIZE, _SIZE), character, fill=255, font=font)
    return np.asarray(canvas.crop(canvas.getbbox()), np.uint8)
