"""`Classifier`: one model file; pictures or arrays in, labels with calibrated probabilities out. No torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from handwriting.classifier.modelfile import locate, open_session, read
from handwriting.errors import ModelError, PictureError

if TYPE_CHECKING:
    from handwriting.imaging import PictureLike

_LARGE, _LARGE_FILE = 100_000, 20_000  # values of an array; bytes of a file
_BATCH = 1024  # bounds memory: activations of a batch, not of a whole data set
_NOTHING_FOUND = "nothing was found in the picture"


@dataclass(frozen=True)
class Prediction:
    """What one picture shows.

    Attributes:
        label: the most probable class, or None when nothing was found in the picture.
        probability: of that class, in [0, 1], calibrated; 0 when nothing was found.
        rejected: the picture is blank, or looks like no character that the model knows.
        top: the most probable (class, probability) pairs, best first.
        warnings: what the way from photo to 28x28 noticed, in plain words.
    """

    label: str | None
    probability: float
    rejected: bool
    top: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...] = ()

    def as_json(self, image: str) -> dict[str, Any]:
        """The answer in the form that `predict --json` and the service give; `image` is the picture's name."""
        return {
            "image": image,
            "label": self.label,
            "probability": round(self.probability, 6),
            "rejected": self.rejected,
            "top": [[label, round(probability, 6)] for label, probability in self.top],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """Of N pictures: `probabilities` float32 (N, C), calibrated, rows sum to 1; `character` float32 (N,) in [0, 1].

    `logits` float32 (N, C) are what the probabilities were made from.
    """

    probabilities: NDArray[np.float32]
    character: NDArray[np.float32]
    logits: NDArray[np.float32]


class Classifier:
    """A model file, or its bytes, ready to answer. Safe to use from several threads.

    Attributes:
        path: the model file; None when bytes were given.
        metadata: its JSON document.
        classes: the labels' names, in the order of the logits.
        temperature: the logits are divided by it before the softmax (Guo et al. 2017, "On Calibration of Modern
            Neural Networks", section 4.2); chosen on valid.
        reject_below: a picture whose `character` score is lower is rejected; chosen on valid.
    """

    def __init__(self, model: str | Path | bytes, *, threads: int | None = None) -> None:
        self.path = None if isinstance(model, bytes) else locate(model)
        content = model if isinstance(model, bytes) else read(model)
        self._session, self.metadata = open_session(content, str(self.path or "the model"), threads)
        self.classes: tuple[str, ...] = tuple(self.metadata["classes"])
        self.temperature = float(self.metadata.get("temperature", 1.0))
        self.reject_below = float(self.metadata.get("reject_below", 0.0))
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __repr__(self) -> str:
        return f"Classifier({str(self.path)!r}, {len(self.classes)} classes)"

    def logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Images (N, 28, 28), uint8 0..255 or float 0..1, white ink on black -> logits float32 (N, C).

        Raises:
            ModelError: another shape or dtype, or values that are not finite.
        """
        return self._run(images, ["logits"])[0]

    def scores(self, images: NDArray[Any]) -> Scores:
        """Images as for `logits` -> calibrated probabilities, and how surely each shows one whole character.

        A model without the output `character` answers with its highest probability instead (the baseline of
        Hendrycks and Gimpel 2017).
        """
        known = "character" in self._outputs
        logits, *character = self._run(images, ["logits", "character"] if known else ["logits"])
        scaled = logits / self.temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        probabilities = np.exp(scaled)
        probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
        if known:
            return Scores(probabilities, _sigmoid(character[0]), logits)
        return Scores(probabilities, probabilities.max(axis=1) if len(images) else np.zeros(0, np.float32), logits)

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Images as for `logits` -> calibrated probabilities float32 (N, C), rows sum to 1."""
        return self.scores(images).probabilities

    @overload
    def predict(self, pictures: PictureLike, *, top: int = 3) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, pictures: Sequence[PictureLike], *, top: int = 3) -> list[Prediction]: ...
    def predict(self, pictures: Any, *, top: int = 3) -> Prediction | list[Prediction]:
        """A picture -> its Prediction; a list of pictures, or an array (N, 28, 28) -> a list of Predictions.

        Args:
            pictures: paths, encoded bytes, open files, PIL images or arrays. Arrays of exactly 28 x 28 are taken for
                what the model sees: white ink on black, uint8 or float in [0, 1]; all else passes through the normal
                form.
            top: how many of the most probable classes to give.

        Raises:
            PictureError: a picture that cannot be read. `predict_each` answers the others all the same.
        """
        one = not isinstance(pictures, list | tuple) and not (isinstance(pictures, np.ndarray) and _is_stack(pictures))
        answers = self.predict_each([pictures] if one else list(pictures), top=top)
        predictions = []
        for answer in answers:
            if isinstance(answer, PictureError):
                raise answer
            predictions.append(answer)
        return predictions[0] if one else predictions

    def predict_each(self, pictures: Sequence[PictureLike], *, top: int = 3) -> list[Prediction | PictureError]:
        """A list of pictures -> for each, in order, its Prediction or the PictureError that says why not."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            shared = {row: pool.submit(_form, picture) for row, picture in enumerate(pictures) if _is_large(picture)}
            forms = [shared[row].result() if row in shared else _form(picture) for row, picture in enumerate(pictures)]
        answers = iter(self._answers([form for form in forms if not isinstance(form, PictureError)], top))
        return [form if isinstance(form, PictureError) else next(answers) for form in forms]

    def _answers(self, forms: Sequence[tuple[NDArray[Any], tuple[str, ...]]], top: int) -> list[Prediction]:
        """What `_form` gave -> Predictions."""
        if not forms:
            return []
        images = _stacked([image for image, _ in forms])
        scores = self.scores(images)
        inked = np.asarray(images.any(axis=(1, 2)), np.bool_)
        rows = zip(inked, scores.probabilities, scores.character.tolist(), forms, strict=True)
        return [
            self.answer(probabilities, character, top, warnings) if some else nothing_found(warnings)
            for some, probabilities, character, (_, warnings) in rows
        ]

    def answer(
        self, probabilities: NDArray[np.float32], character: float, top: int, warnings: tuple[str, ...]
    ) -> Prediction:
        """One row of `scores` -> its Prediction, naming the `top` most probable classes."""
        sure = probabilities.tolist()
        order = sorted(range(len(sure)), key=sure.__getitem__, reverse=True)[: max(top, 1)]
        best = tuple((self.classes[index], sure[index]) for index in order)
        return Prediction(best[0][0], best[0][1], character < self.reject_below, best, warnings)

    def _run(self, images: NDArray[Any], outputs: list[str]) -> list[NDArray[np.float32]]:
        inputs = as_input(images)
        if len(inputs) <= _BATCH:
            return list(self._session.run(outputs, {"images": inputs}))
        batches = [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]
        results = [self._session.run(outputs, {"images": batch}) for batch in batches]
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]


def nothing_found(warnings: tuple[str, ...] = ()) -> Prediction:
    """The answer to a picture in which nothing was found."""
    return Prediction(None, 0.0, True, (), (*warnings, _NOTHING_FOUND))


def as_input(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images (N, 28, 28), uint8 0..255 or float 0..1 -> float32 (N, 28, 28) in [0, 1]. Raises ModelError."""
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ModelError(f"images must be of shape (N, 28, 28), not {images.shape}; photos go through `predict`")
    if images.dtype == np.uint8:
        scaled: NDArray[np.float32] = images.astype(np.float32) / np.float32(255)
        return scaled
    if images.dtype.kind != "f":
        raise ModelError(f"images must be uint8 in 0..255 or float in 0..1, not {images.dtype}")
    images = images.astype(np.float32, copy=False)
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN fails both
        raise ModelError("float images must lie in 0..1; give uint8 for 0..255")
    return images


def load(model: str | Path = "digits", *, threads: int | None = None) -> Classifier:
    """A shipped model's name, a .onnx file or a run folder -> a Classifier. Raises UnknownName, ModelError."""
    return Classifier(model, threads=threads)


def _is_large(picture: Any) -> bool:
    """Whether opening a picture and finding its character is worth a thread of its own.

    Decoding and opencv release the interpreter's lock, but threads that share a small picture's many short steps hand
    it to and fro: 1,000 crops took 40% longer in two threads than in one.
    """
    if isinstance(picture, np.ndarray):
        return picture.size >= _LARGE
    if isinstance(picture, bytes):
        return len(picture) >= _LARGE_FILE
    if isinstance(picture, str | Path):
        try:
            return Path(picture).stat().st_size >= _LARGE_FILE
        except (OSError, ValueError):
            return False
    return True


def _form(picture: Any) -> tuple[NDArray[Any], tuple[str, ...]] | PictureError:
    """A picture -> (what the model sees, uint8 or float32 (28, 28), all 0 when nothing was found; warnings), or why it
    cannot be read."""
    try:
        if isinstance(picture, np.ndarray) and picture.shape == (28, 28):
            return picture if picture.dtype == np.uint8 else as_input(picture[None])[0], ()
        from handwriting.imaging import normalised  # opencv: not needed to classify arrays

        return normalised(picture)
    except ModelError as error:
        return PictureError(str(error))
    except PictureError as error:
        return error


def _stacked(images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Images uint8 or float32 (28, 28) -> all in one array; float32 when one of them is."""
    if all(image.dtype == np.uint8 for image in images):
        return np.stack(images)
    return np.concatenate([as_input(image[None]) for image in images])


def _is_stack(array: NDArray[Any]) -> bool:
    """(N, 28, 28) is N images; (28, 28, 3) would be one colour picture, (3, 28, 28) three images."""
    return array.ndim == 3 and array.shape[1:] == (28, 28)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped = np.clip(logits, -math.log(1e30), None)
    return np.asarray(1 / (1 + np.exp(-clipped)), np.float32)
