from __future__ import annotations

import cv2
import numpy as np
import pytest

from handwriting.imaging import normal_form


@pytest.mark.parametrize("ink", [0, 255])
def test_a_drawn_seven_comes_out_light_on_dark_in_a_box_of_20(ink: int) -> None:
    page = np.full((200, 150), 255 - ink, np.uint8)
    cv2.polylines(page, [np.array([[40, 50], [110, 50], [70, 150]])], False, ink, 8, cv2.LINE_AA)
    form = normal_form(page)
    assert form.polarity == ("dark ink" if ink == 0 else "light ink")
    ys, xs = np.nonzero(form.image)
    assert max(np.ptp(ys), np.ptp(xs)) + 1 == 20
    assert normal_form(np.full((50, 50, 3), 200, np.uint8)).empty
