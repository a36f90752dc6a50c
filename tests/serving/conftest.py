"""Real parts for the service's tests: a PostgreSQL server of their own, and pictures of digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handwriting.data import Dataset
from handwriting.serving import Correction, Settings, create_app
from tests.serving.parts import Running, TestClient, digit_pictures, needs_the_shipped_model
from tests.serving.postgres import postgres_programs, postgres_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starlette leaves the in-memory file of a form that breaks off to the garbage collector; nothing of ours leaks."""
    leak = "ignore:Exception ignored in.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(leak))


@pytest.fixture(scope="session", autouse=True)
def _shipped_model() -> None:
    needs_the_shipped_model()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server, started for the tests by a user who is not root."""
    if postgres_programs() is None:
        pytest.skip("POSTGRESQL IS NOT INSTALLED: its tests did not run (apt-get install postgresql)")
    with postgres_server() as url:
        yield url


@pytest.fixture
def correction() -> Correction:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 12:16] = 255
    return Correction(
        image=image,
        label="1",
        predicted_label="7",
        predicted_probability=0.75,
        model="digits",
        model_version="1",
        session="a-session",
    )


@pytest.fixture(scope="session")
def digits(sample: Dataset) -> dict[str, bytes]:
    """Real MNIST training digits: label -> PNG."""
    return digit_pictures(sample)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=f"sqlite:///{tmp_path / 'corrections.sqlite3'}", state=tmp_path / "state")


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://localhost:8000") as opened:
        yield opened


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that runs for all the tests that only ask."""
    service = Running("--state", str(tmp_path_factory.mktemp("state")))
    yield service.url
    assert service.stop() == 0
