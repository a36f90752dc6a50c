"""The notebook runs from top to bottom, on the sample and for one epoch."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
PATH = ROOT / "notebooks" / "digits.ipynb"


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_the_notebook_runs_and_ends_with_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDWRITING_NOTEBOOK_DATA", "mnist-sample")
    monkeypatch.setenv("HANDWRITING_NOTEBOOK_EPOCHS", "1")
    monkeypatch.setenv("HANDWRITING_NOTEBOOK_RUN", str(tmp_path / "run"))
    notebook = nbformat.read(PATH, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("chosen by valid: epoch 1" in text for text in texts)
    assert texts[-1].strip()[0] in "0123456789"
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_the_committed_outputs_are_of_a_full_run_on_whole_mnist() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    text = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    assert "train 48,000" in text
    assert "epoch 15" in text
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
