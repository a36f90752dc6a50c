"""The house: imports run one way down the street, torch stays in its rooms, importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "handwriting"
STREET = [
    "imaging",
    "data",
    "evaluation",
    "learning",
    "classifier",
    "runs",
    "reading",
    "serving",
    "scaling",
    "cli",
]
FILES = sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.AST) -> list[str]:
    """Absolute names of all modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(path: Path) -> str | None:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else None


def test_every_folder_of_code_is_a_room_of_the_street() -> None:
    rooms = {room(path) for path in FILES if room(path)}
    assert rooms <= set(STREET)
    assert {"imaging", "data", "evaluation", "learning", "classifier", "runs", "cli"} <= rooms


@pytest.mark.parametrize("path", [path for path in FILES if room(path)], ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    here = room(path)
    assert here is not None
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "handwriting" and len(parts) > 1 and parts[1] in STREET:
            assert STREET.index(parts[1]) <= STREET.index(here), f"{path.name} steps back up the street to {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_torch_is_loaded_only_by_learning_and_scaling(path: Path) -> None:
    tree = ast.parse(path.read_text())
    # A name for annotations alone is no import at run time.
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    uses = [name for name in imported(tree) if name.split(".")[0] in ("torch", "safetensors")]
    if room(path) in ("learning", "scaling"):
        return
    top = {name for node in tree.body for name in imported(node) if isinstance(node, ast.Import | ast.ImportFrom)}
    assert not top & set(uses)
    assert not uses or room(path) == "runs", f"{path} loads {uses}"


def test_no_cycles_between_modules() -> None:
    """Imports at the top of files, followed from each module, never come back to it."""
    modules = {".".join(("handwriting", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    edges: dict[str, set[str]] = {}
    for name, path in modules.items():
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        targets = {target for node in top for target in imported(node)}
        edges[name] = {t if t in modules else t.rpartition(".")[0] for t in targets} & set(modules) - {name}
    # A package's __init__ gathers what its modules define: only edges between other modules can make a cycle.
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name in done:
            return
        for target in sorted(edges[name]):
            visit(target, (*path, name))
        done.add(name)

    for name in sorted(edges):
        visit(name, ())


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "onnxruntime", "numpy", "sklearn", "matplotlib", "fastapi", "typer"}
    assert not heavy & loaded_by("import handwriting")


def test_predicting_loads_no_torch(small_run: object) -> None:
    model = small_run.model  # type: ignore[attr-defined]
    code = f"import handwriting as hw, numpy\nhw.load({str(model)!r}).predict(numpy.zeros((40, 40), 'uint8'))"
    modules = loaded_by(code)
    assert "onnxruntime" in modules
    assert not {"torch", "sklearn", "matplotlib", "onnx"} & modules


def test_the_command_line_loads_nothing_heavy_for_help() -> None:
    code = "from handwriting.cli import app"
    assert not {"torch", "cv2", "onnxruntime", "numpy", "sklearn", "matplotlib", "fastapi"} & loaded_by(code)
