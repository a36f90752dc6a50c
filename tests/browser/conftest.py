"""The page is tested on the shipped model."""

from __future__ import annotations

import pytest

from tests.serving.parts import needs_the_shipped_model


@pytest.fixture(scope="session", autouse=True)
def _shipped_model() -> None:
    needs_the_shipped_model()
