from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from handwriting.errors import PictureError
from handwriting.imaging import open_picture

GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))  # (48, 64), dark on the left


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_format_opens_from_file_bytes_and_stream_alike(kind: str, tmp_path: Path) -> None:
    content = encoded(Image.fromarray(GREY), kind)
    path = tmp_path / f"grey.{kind.lower()}"
    path.write_bytes(content)
    opened = open_picture(path)
    assert opened.shape == (48, 64, 3)
    assert opened.dtype == np.uint8
    assert np.abs(opened[:, :, 1].astype(int) - GREY).max() <= 12
    for source in (str(path), content, io.BytesIO(content)):
        np.testing.assert_array_equal(open_picture(source), opened)


def by_pillow(content: bytes) -> Any:
    """uint8 (H, W, 3), or None where Pillow refuses the file."""
    try:
        return np.asarray(Image.open(io.BytesIO(content), formats=["PNG"]).convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (28, 28, 3), (140, 150, 3)])
def test_a_small_png_of_nothing_but_levels_opens_as_pillow_opens_it_and_without_it(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, np.uint8)), "PNG")
    expected = by_pillow(content)
    assert "limit" in refusal(content, max_pixels=shape[0] * shape[1] - 1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))
    np.testing.assert_array_equal(open_picture(content), expected)


def test_a_png_with_any_byte_changed_opens_as_by_pillow_or_is_refused_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    content = encoded(Image.fromarray(np.random.default_rng(2).integers(0, 256, (5, 6), np.uint8)), "PNG")
    refused = 0
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :]
        expected = by_pillow(changed)
        if expected is None:
            refused += bool(refusal(changed))
        else:
            np.testing.assert_array_equal(open_picture(changed), expected)
    assert 40 < refused < len(content)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I", "I;16", "F"])
def test_every_mode_of_pillow_gives_the_same_picture(mode: str) -> None:
    halves = np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)[None].repeat(48, 0)
    if mode == "I;16":
        picture = Image.fromarray(halves.astype(np.uint16) * 257)
    elif mode in "IF":
        picture = Image.fromarray(halves.astype(np.int32 if mode == "I" else np.float32))
    else:
        picture = Image.fromarray(halves).convert(mode)
    opened = open_picture(picture)
    assert opened.shape == (48, 64, 3)
    assert np.abs(opened.mean(2) - halves).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, bool, np.uint16, np.int64, np.float32, np.float64])
def test_arrays_of_any_type_give_the_same_picture(kind: type[Any]) -> None:
    halves = np.where(np.arange(64) < 32, 0, 1)[None].repeat(48, 0)
    white = {"uint8": 255, "uint16": 65535, "int64": 255}.get(kind.__name__, 1)
    opened = open_picture((halves * white).astype(kind))
    np.testing.assert_array_equal(opened[:, :, 0], halves * 255)


def test_a_scan_of_12_bits_in_16_keeps_its_white() -> None:
    assert open_picture(np.array([[0, 4095]], np.uint16)).max() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :20] = 255
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(turns[orientation])), "JPEG", exif=exif, quality=95)
    opened = open_picture(content)
    assert opened.shape == (40, 60, 3)
    assert np.abs(opened[:, :, 0].astype(int) - upright).mean() < 3


def test_damaged_exif_does_not_cost_the_picture() -> None:
    content = encoded(Image.fromarray(GREY), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + b"\x7f" * 400)
    assert open_picture(content).shape == (48, 64, 3)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_ink_on_nothing_lies_on_what_it_contrasts_with(ink: int, paper: int) -> None:
    canvas = np.zeros((30, 30, 4), np.uint8)
    canvas[10:20, 14:17] = (ink, ink, ink, 255)
    opened = open_picture(encoded(Image.fromarray(canvas), "PNG"))
    assert opened[0, 0].tolist() == [paper] * 3
    assert opened[15, 15].tolist() == [ink] * 3


def test_cut_corners_of_an_opaque_card_continue_its_paper() -> None:
    card = np.full((30, 30, 4), 240, np.uint8)
    card[:, :, 3] = 255
    card[:4, :4, 3] = 0
    card[12:20, 14] = (0, 0, 0, 255)
    assert open_picture(card)[0, 0].tolist() == [240] * 3


def test_a_transparent_grey_of_a_png_counts_as_alpha() -> None:
    grey = np.full((20, 20), 7, np.uint8)
    grey[5:15, 9] = 200
    opened = open_picture(encoded(Image.fromarray(grey), "PNG", transparency=7))
    assert opened[0, 0, 0] == 0  # light ink on nothing


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_no_picture_is_refused_in_one_line_that_begins_with_the_path(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)), "PNG")
    made = {
        "empty.png": (b"", "empty"),
        "text.png": (b"not a picture at all", "not a picture"),
        "cut.png": (whole[: len(whole) // 2], "truncated"),
        "cut.jpg": (encoded(Image.fromarray(GREY), "JPEG")[:-300], "truncated"),
        "phone.heic": (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 50, "export it as JPEG"),
    }
    for name, (content, words) in made.items():
        path = tmp_path / name
        path.write_bytes(content)
        message = refusal(path)
        assert message.startswith(f"{path}: ")
        assert words in message
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "not a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # that nobody writes to
    assert "not a file" in refusal(tmp_path / "pipe")
    assert "no such file" in refusal(tmp_path / "pipe/picture.png")
    assert refusal("a\0b.png").startswith("a\0b.png: ")


def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any) -> None:
        raise AssertionError("decoded")

    big = encoded(Image.new("1", (12_000, 9_000)), "PNG")  # 108 megapixels in 1.7 kB
    huge = encoded(Image.new("1", (30_000, 12_000)), "PNG")  # past Pillow's own limit
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    assert "12000x9000 is 108 megapixels, over the limit of 50" in refusal(big)
    assert "too many pixels" in refusal(huge)
    assert "limit" in refusal(np.zeros((20, 20), np.uint8), max_pixels=399)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames_or_pages_are_refused_with_their_number(kind: str) -> None:
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (0, 90, 200)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert "has 3 " in refusal(content)


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 5), np.uint8), np.zeros(7), np.zeros((4, 4, 5)), np.full((4, 4), np.nan), np.full((3, 3), "a")],
)
def test_arrays_that_are_no_picture_are_refused(array: Any) -> None:
    assert refusal(array).startswith("picture: ")


def test_text_mode_and_foreign_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with (tmp_path / "a.txt").open() as text:
        assert "'rb'" in refusal(text)
    assert "cannot open" in refusal(12)


def test_a_postscript_file_never_starts_another_program() -> None:
    assert "not a picture" in refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_a_large_transparent_picture_is_filled_in_bands_as_a_small_one_is_at_once() -> None:
    small = np.full((700, 900, 4), (230, 225, 220, 255), np.uint8)
    small[100:160, :, :3] = 40
    small[:, :, 3] = np.random.default_rng(4).integers(100, 256, (700, 900), np.uint8)
    large = np.tile(small, (4, 2, 1))
    np.testing.assert_array_equal(open_picture(large), np.tile(open_picture(small), (4, 2, 1)))
    largest = np.full((3000, 4000, 4), 200, np.uint8)
    tracemalloc.start()
    open_picture(largest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * 3000 * 4000  # bytes: the result, and one band in floats; all in floats took 70 a pixel
