"""From the pictures of requests to answers: the same steps as `Classifier.predict`, on the batch of many requests."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handwriting.classifier import Classifier, Prediction, nothing_found
from handwriting.errors import HandwritingError, PictureError
from handwriting.imaging import draw_strip, normal_form, normalised, open_picture, strip_png
from handwriting.imaging.opening import FORMATS
from handwriting.reading import Page, read
from handwriting.serving.versions import Version

_LARGE = 16_000_000  # pixels; about 12 bytes each while a picture is opened


@dataclass(frozen=True)
class Ask:
    """One picture of a request.

    Attributes:
        name: what its answer calls it.
        picture: encoded bytes; or uint8 (28, 28) or float32 (28, 28) in [0, 1], already in normal form.
        top: how many classes to name.
        warnings: what its preparation noticed.
        error: why it cannot be read.
    """

    name: str
    picture: bytes | NDArray[Any]
    top: int = 3
    warnings: tuple[str, ...] = ()
    error: HandwritingError | None = None

    @property
    def ready(self) -> bool:
        """Whether the model can have it: it is a 28x28, or known to be broken."""
        return self.error is not None or not isinstance(self.picture, bytes)


@dataclass(frozen=True)
class Given:
    """One answer: the prediction, the 28x28 that the model saw (uint8), its rows of numbers, and who answered."""

    prediction: Prediction
    image: NDArray[np.uint8]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    character: float
    version: Version


def is_large(ask: Ask) -> bool:
    """Whether a picture's header promises so many pixels that it takes hundreds of megabytes to open."""
    if ask.error is not None or not isinstance(ask.picture, bytes):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(ask.picture), formats=FORMATS) as picture:
                return bool(picture.width * picture.height > _LARGE)
    except Exception:  # noqa: BLE001 - a damaged file raises almost anything; opening it will say what is wrong
        return False


def prepare(ask: Ask, max_pixels: int) -> Ask:
    """Encoded bytes -> the same Ask with its 28x28; an Ask that is prepared, or failed already, as it is."""
    if ask.error is not None or not isinstance(ask.picture, bytes):  # as `ready` says, for the type checker
        return ask
    try:
        image, warnings = normalised(ask.picture, max_pixels=max_pixels)
    except PictureError as error:
        return replace(ask, error=PictureError(ask.name + str(error).removeprefix("picture")))
    return replace(ask, picture=image, warnings=warnings)


def answer_all(version: Version, asks: Sequence[Ask]) -> list[Given | HandwritingError]:
    """The prepared pictures of one batch -> for each, in order, its answer by ``version`` or why it cannot be read."""
    images = [np.asarray(ask.picture) for ask in asks if ask.error is None]
    if not images:
        return [ask.error for ask in asks if ask.error is not None]
    classifier = version.classifier
    scores = classifier.scores(_stack(images))
    answers: list[Given | HandwritingError] = []
    row = 0
    for ask in asks:
        if ask.error is not None:
            answers.append(ask.error)
            continue
        probabilities, character = scores.probabilities[row], float(scores.character[row])
        image = images[row]
        if not image.any():
            prediction = nothing_found(ask.warnings)
        else:
            prediction = classifier.answer(probabilities, character, ask.top, ask.warnings)
        answers.append(Given(prediction, _levels(image), scores.logits[row], probabilities, character, version))
        row += 1
    return answers


def read_page(ask: Ask, classifier: Classifier, max_pixels: int) -> Page | HandwritingError:
    """The lines of a whole picture, or why it cannot be read."""
    if ask.error is not None or not isinstance(ask.picture, bytes):
        return ask.error or PictureError(f"{ask.name}: must be a picture file in base64")
    try:
        return read(open_picture(ask.picture, max_pixels=max_pixels), model=classifier)
    except PictureError as error:
        return PictureError(ask.name + str(error).removeprefix("picture"))


def strip_of(ask: Ask, classifier: Classifier, max_pixels: int) -> bytes:
    """A picture -> the PNG of its way to the 28x28, with the answer, as `handwriting explain` draws it.

    Raises:
        PictureError: it cannot be read.
    """
    if ask.error is not None or not isinstance(ask.picture, bytes):
        raise ask.error or PictureError(f"{ask.name}: must be a picture file in base64")
    try:
        picture = open_picture(ask.picture, max_pixels=max_pixels)
    except PictureError as error:
        raise PictureError(ask.name + str(error).removeprefix("picture")) from error
    form = normal_form(picture)
    answer = classifier.predict(form.image, top=5)
    return strip_png(draw_strip(picture, form, answer.top, title=ask.name, rejected=answer.rejected))


def _stack(images: list[NDArray[Any]]) -> NDArray[Any]:
    """Images uint8 or float32, mixed -> one array (N, 28, 28) of one of them."""
    if all(image.dtype == np.uint8 for image in images):
        return np.stack(images)
    return np.stack(
        [image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image for image in images]
    )


def _levels(image: NDArray[Any]) -> NDArray[np.uint8]:
    return image if image.dtype == np.uint8 else np.asarray(np.rint(image * 255), np.uint8)
