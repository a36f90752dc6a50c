"""What `read` gives: a page, its lines, their characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Box = tuple[int, int, int, int]  # x, y, w, h


@dataclass(frozen=True)
class Character:
    """One character, or a mark of a character's size that is none.

    Attributes:
        label: the most probable class.
        probability: that it is a character and of that class, calibrated on composed valid fields.
        box: (x, y, w, h) in the original picture's pixels.
        rejected: it looks like no character that the model knows; it is not in the line's text.
    """

    label: str
    probability: float
    box: Box
    rejected: bool = False


@dataclass(frozen=True)
class Line:
    """A line of writing.

    Attributes:
        text: the labels of its characters that are not rejected; "" when there is none, or no reading that the
            constraints allow.
        probability: that the whole text is right, calibrated on composed valid fields.
        box: (x, y, w, h) in the original picture's pixels.
        characters: from left to right, rejected ones among them.
    """

    text: str
    probability: float
    box: Box
    characters: tuple[Character, ...]


@dataclass(frozen=True)
class Page:
    """What a picture says.

    Attributes:
        lines: from top to bottom, in a row from left to right; none on a blank page.
        turned: 0, 90, 180 or 270: degrees counter-clockwise by which the picture was turned to be read. The boxes are
            in the picture as it was given.
    """

    lines: tuple[Line, ...]
    turned: int = 0

    @property
    def text(self) -> str:
        """The lines' texts, a newline between them."""
        return "\n".join(line.text for line in self.lines)

    def as_json(self, image: str) -> dict[str, Any]:
        """The page in the form that `read --json` gives; ``image`` is the picture's name."""
        return {
            "image": image,
            "turned": self.turned,
            "lines": [
                {
                    "text": line.text,
                    "probability": round(line.probability, 6),
                    "box": list(line.box),
                    "characters": [
                        {
                            "label": character.label,
                            "probability": round(character.probability, 6),
                            "box": list(character.box),
                            "rejected": character.rejected,
                        }
                        for character in line.characters
                    ],
                }
                for line in self.lines
            ],
        }
