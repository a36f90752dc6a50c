"""The peer, `digit-recognizer-py` from PyPI: `pip install --no-deps digit-recognizer-py`, then found here.

Its package imports torchvision for four transforms. Where torchvision is not installed, a stand-in of those four
(Compose, Resize, ToTensor, Normalize on a Pillow picture, which is what torchvision's are) lets the peer's own,
unmodified code run; its time and memory are then without torchvision's import.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

STAND_IN = """
import numpy, torch
from PIL import Image

class Compose:
    def __init__(self, steps): self.steps = steps
    def __call__(self, picture):
        for step in self.steps: picture = step(picture)
        return picture

class Resize:
    def __init__(self, size): self.size = size
    def __call__(self, picture): return picture.resize(self.size[::-1], Image.Resampling.BILINEAR)

class ToTensor:
    def __call__(self, picture): return torch.from_numpy(numpy.array(picture, numpy.float32) / 255)[None]

class Normalize:
    def __init__(self, mean, std): self.mean, self.std = mean[0], std[0]
    def __call__(self, tensor): return (tensor - self.mean) / self.std
"""


def installed() -> bool:
    """Whether the peer can be imported."""
    return importlib.util.find_spec("digit_recognizer") is not None


@cache  # asked again once it stands in, it would take itself for torchvision
def stand_in() -> str:
    """A folder to put on the path: torchvision's four transforms; "" where torchvision itself works."""
    try:
        importlib.import_module("torchvision.transforms")
    except Exception:  # noqa: BLE001 (a torchvision built for another torch fails with anything)
        folder = Path(tempfile.mkdtemp()) / "torchvision"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "transforms.py").write_text(STAND_IN)
        return str(folder.parent)
    return ""


def recognizer() -> Any:
    """The peer's own `DigitRecognizer`, loaded as its API loads it."""
    folder = stand_in()
    if folder:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.path.insert(0, folder)
    module: Any = importlib.import_module("digit_recognizer")
    return module.DigitRecognizer(device="cpu")
