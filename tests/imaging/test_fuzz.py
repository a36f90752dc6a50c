from __future__ import annotations

import importlib.util
import resource
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz_pictures.py"
    spec = importlib.util.spec_from_file_location("fuzz_pictures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.parent))  # where the benchmarks find each other
    spec.loader.exec_module(module)
    return module


def test_every_seed_file_is_a_picture_before_it_is_mutated(fuzz: ModuleType) -> None:
    assert [fuzz.open_picture(content).shape[2] for content in fuzz.seeds()] == [3] * len(fuzz.seeds())


def test_mutated_files_give_a_picture_or_one_line_and_never_hang_or_pile_up_memory(fuzz: ModuleType) -> None:
    list(fuzz.outcomes(30, 90_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = list(fuzz.outcomes(300, 100_000))
    grown_kb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (1024 if sys.platform == "darwin" else 1)
    assert {outcome for _, outcome, _ in seen} == {"picture", "refused"}
    assert max(seconds for _, _, seconds in seen) < 5.0
    assert grown_kb < 200_000
