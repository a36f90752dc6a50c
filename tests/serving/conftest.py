"""Real parts for the service's tests: a PostgreSQL server of their own, and pictures of digits."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handwriting.data import Dataset
from handwriting.serving import Correction, Settings, create_app
from tests.serving.parts import Running, TestClient, digit_pictures, free_port, needs_the_shipped_model


@pytest.fixture(scope="session", autouse=True)
def _shipped_model() -> None:
    needs_the_shipped_model()


def _postgres_programs() -> Path | None:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server, started for the tests by a user who is not root."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("POSTGRESQL IS NOT INSTALLED: its tests did not run (apt-get install postgresql)")
    user = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
    root = os.getuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="handwriting-pg-"))
    if root:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, port = folder / "data", free_port()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}

    def call(*words: str | Path) -> None:
        subprocess.run(
            [str(word) for word in words],
            check=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            user=user.pw_uid if root else None,
            group=user.pw_gid if root else None,
            extra_groups=[] if root else None,
        )

    call(programs / "initdb", "-D", data, "-U", "tests", "-A", "trust", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c shared_buffers=16MB -c max_connections=40"
    call(programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://tests@127.0.0.1:{port}/postgres"
    finally:
        call(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


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
