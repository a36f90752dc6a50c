"""What a service is told at its start, checked at once: an unsafe or impossible setting never gets to listen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from handwriting.errors import HandwritingError


class ServiceError(HandwritingError):
    """A service that cannot start as it was asked to."""


def default_state() -> Path:
    """Where adapted models are kept when no folder is named: in the user's data folder."""
    return Path(platformdirs.user_data_dir("handwriting")) / "serving"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides how a service behaves.

    Attributes:
        models: names or files; the first answers when a request names none.
        host, port: where to listen; port 0 takes a free one.
        api_key: what clients must show; None on a loopback address, or with ``no_auth``.
        no_auth: answer anybody, on any address.
        store: URL of the corrections' database, or None to store nothing.
        state: folder in which adapted versions of the models are kept.
        max_body: bytes of a request; max_in_flight: bytes of all requests at one time.
        max_pixels: of one picture, checked before it is decoded.
        max_images: of one request, and of one batch.
        max_queue: images waiting for the model; beyond it clients are told to come back (429).
        max_stored: corrections; beyond it no more are taken (507).
        time_limit: seconds for a request, its upload included.
        watch: seconds between looks at the model files for a new version.
        adapt_command: the command that adapts; called with ``--model --samples --out --json``.

    Raises:
        ServiceError: a host that is not loopback without ``api_key`` or ``no_auth``; an empty key; limits below 1.
    """

    models: tuple[str, ...] = ("digits",)
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    no_auth: bool = False
    store: str | None = None
    state: Path = field(default_factory=default_state)
    max_body: int = 10 * 1024 * 1024
    max_in_flight: int = 256 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_images: int = 64
    max_queue: int = 512
    max_stored: int = 100_000
    time_limit: float = 30.0
    watch: float = 1.0
    adapt_command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.api_key is not None and len(self.api_key) < 16:
            raise ServiceError("the API key is shorter than 16 characters: make one with `openssl rand -hex 32`")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ServiceError("the API key has characters that an HTTP header cannot carry: use letters and digits")
        if not self.loopback and self.api_key is None and not self.no_auth:
            raise ServiceError(
                f"{self.host} can be reached by others: give --api-key (or HANDWRITING_API_KEY), "
                "or --no-auth to answer anybody"
            )
        for name in (
            "max_body",
            "max_in_flight",
            "max_pixels",
            "max_images",
            "max_queue",
            "max_stored",
            "time_limit",
            "watch",
        ):
            if not getattr(self, name) > 0:
                raise ServiceError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.models:
            raise ServiceError("no model to serve: give --model NAME or --model FILE")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def owner_only(self) -> bool:
        """Whether whoever gets through is the owner: holds the key, or sits at this machine."""
        return self.api_key is not None or self.loopback
