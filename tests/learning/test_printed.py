from __future__ import annotations

import string

import cv2
import numpy as np

from handwriting.learning.printed import FONTS, printed


def test_each_font_has_all_letters_and_digits_each_of_its_own_shape_and_in_normal_form() -> None:
    characters = "".join(c for c in string.ascii_letters + string.digits if c not in "IlO0coSsUuVvWwXxZz")
    images = printed(characters)
    assert images.shape == (len(FONTS), len(characters), 28, 28)
    assert images.dtype == np.uint8
    for font in images:
        assert len(np.unique(font.reshape(len(characters), -1), axis=0)) == len(characters)  # no box for what lacks
        assert all(max(cv2.boundingRect(image)[2:]) in (19, 20) for image in font)
    assert len(np.unique(images.reshape(len(FONTS), -1), axis=0)) == len(FONTS)
