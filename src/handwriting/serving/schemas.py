"""What goes in and out, for the OpenAPI document and for checking the small JSON bodies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Session = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$", description="Opaque name of a visit, made by the page.")
]
Level = Annotated[int, Field(ge=0, le=255, strict=True)]
Row28 = Annotated[list[Level], Field(min_length=28, max_length=28)]
Image28 = Annotated[list[Row28], Field(min_length=28, max_length=28, description="28x28, white ink on black, 0..255.")]


class Answer(BaseModel):
    """One picture's answer, as ``handwriting predict --json`` prints it, or why it has none."""

    image: str
    label: str | None = None
    probability: float | None = Field(None, ge=0, le=1)
    rejected: bool | None = None
    top: list[tuple[str, float]] | None = None
    warnings: list[str] | None = None
    error: str | None = None
    seen: list[list[int]] | None = Field(None, description="With ?seen=true: the 28x28 that the model saw.")


class ReadCharacter(BaseModel):
    """One character of a line; `box` is [x, y, width, height] in the picture's pixels."""

    label: str
    probability: float
    box: tuple[int, int, int, int]
    rejected: bool


class ReadLine(BaseModel):
    """One line of writing."""

    text: str
    probability: float
    box: tuple[int, int, int, int]
    characters: list[ReadCharacter]


class ReadPage(BaseModel):
    """One picture's lines, as ``handwriting read --json`` prints them, or why it has none."""

    image: str
    turned: int | None = Field(None, description="Degrees counter-clockwise that it was turned by to be read.")
    lines: list[ReadLine] | None = None
    error: str | None = None


class FieldError(BaseModel):
    """One part of a request that was wrong."""

    field: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    request_id: str | None = None


class NewCorrection(BaseModel):
    """An answer put right. It is stored only with ``consent``."""

    model_config = ConfigDict(extra="forbid")

    image: Image28
    label: Annotated[str, Field(min_length=1, max_length=32)]
    session: Session
    consent: Annotated[bool, Field(strict=True, description="The writer agreed that this drawing is kept.")]
    model: Annotated[str | None, Field(max_length=128)] = None


class StoredCorrection(BaseModel):
    """A correction as it is kept."""

    id: str
    created_at: str
    label: str
    predicted_label: str
    predicted_probability: float
    model: str
    model_version: str
    image: list[list[int]]


class Corrections(BaseModel):
    """The corrections of one session: how many, and the newest of them."""

    count: int
    corrections: list[StoredCorrection]


class Deleted(BaseModel):
    """How many corrections were deleted."""

    deleted: int


class Service(BaseModel):
    """What a page has to know before it asks for anything else."""

    version: str
    key_needed: bool = Field(description="Whether requests need an API key.")
    store: bool = Field(description="Whether corrections can be stored.")
    owner: bool = Field(description="Whether whoever gets through may change the models.")


class Adapting(BaseModel):
    """Where the learning from corrections stands."""

    state: Literal["idle", "running", "accepted", "refused", "failed"]
    message: str
    report: dict[str, Any] | None = None


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of problems that an operation can answer with."""
    reasons = {
        400: "The body cannot be parsed.",
        401: "No or wrong API key.",
        403: "Not allowed.",
        404: "Not there.",
        408: "The request took too long to arrive.",
        409: "Not possible now.",
        413: "Too large, or too many pictures.",
        415: "Another content type.",
        421: "Addressed under a name that this service does not answer to.",
        422: "A field cannot be used.",
        429: "Busy: come back after Retry-After seconds.",
        503: "The store cannot be reached.",
        504: "No answer within the time limit.",
        507: "The store is full.",
    }
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    always = (401, 403, 408, 413, 415, 421, 429, 504)
    return {
        status: {"description": reasons[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in sorted({*statuses, *always})
    }


_FILES = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {
        "files": {"type": "array", "minItems": 1, "maxItems": 64, "items": {"type": "string", "format": "binary"}}
    },
}


def picture_body(*, arrays: bool) -> dict[str, Any]:
    """The OpenAPI description of a body with pictures: multipart, or JSON (with ``arrays``, also raw 28x28)."""
    base64 = {"type": "string", "description": "A picture file in base64."}
    row = {"type": "array", "minItems": 28, "maxItems": 28, "items": {"type": "integer", "minimum": 0, "maximum": 255}}
    array = {"type": "array", "minItems": 28, "maxItems": 28, "items": row}
    images = {
        "type": "object",
        "required": ["images"],
        "additionalProperties": False,
        "properties": {
            "images": {
                "type": "array",
                "minItems": 1,
                "maxItems": 64,
                "items": {"anyOf": [base64, array]} if arrays else base64,
            }
        },
    }
    content = {"multipart/form-data": {"schema": _FILES}, "application/json": {"schema": images}}
    return {"requestBody": {"required": True, "content": content}}
