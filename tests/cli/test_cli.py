"""What users type: exit statuses, one clear line for every problem, JSON that is nothing but JSON."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from handwriting.data import Dataset
from handwriting.runs import Run
from tests.conftest import Command

COMMANDS = ("data", "evaluate", "models", "predict", "train")


def one_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("handwriting: ")
    return lines[0]


@pytest.fixture(scope="module")
def picture(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "one.png"
    index = int(np.flatnonzero(sample.labels == 1)[0])
    cv2.imwrite(str(path), 255 - np.pad(cv2.resize(sample.images[index], (112, 112)), 24))
    return path


def test_help_names_every_command_and_is_quick(command: Command) -> None:
    started = time.perf_counter()
    result = command("--help")
    seconds = time.perf_counter() - started
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)
    assert seconds < 3.0  # 0.5 s on a quiet machine, which benchmarks/startup.py measures; here others may be at work


@pytest.mark.parametrize("name", ["predict", "train", "evaluate", "models", "data list", "data fetch"])
def test_every_command_helps_with_an_example(command: Command, name: str) -> None:
    result = command(*name.split(), "--help")
    assert result.returncode == 0
    assert f"Example: handwriting {name}" in re.sub(r"\s+", " ", result.stdout)


def test_wrong_usage_exits_with_2(command: Command) -> None:
    assert command("predict").returncode == 2
    assert command("nonsense").returncode == 2
    assert command("predict", "x.png", "--top", "0").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--data", "mnits"), "did you mean 'mnist'"),
        (("train", "--recipe", "clasic"), "did you mean 'classic'"),
        (("train", "--data", "mnist-sample", "--device", "gpu"), "unknown device 'gpu'"),
        (("train", "--data", "mnist-sample", "--epochs", "0"), "epochs must lie in 1..1000"),
        (("train", "--data", "mnist-sample", "--split-by", "writter"), "did you mean 'writer'"),
        (("train", "--data", "no/such/folder"), "no such folder"),
        (("train", "--resume", "--out", "nothing/here"), "no run to resume"),
        (("evaluate", "gone.onnx"), "no such model file"),
        (("predict", "x.png", "--model", "digist"), "unknown model 'digist'"),
        (("data", "fetch", "mnits"), "did you mean 'mnist'"),
    ],
)
def test_a_problem_is_one_line_that_says_what_to_do(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = command(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert words in one_line(result.stderr)
    assert result.stdout == ""


def test_predict_answers_in_json_and_nothing_else(command: Command, small_run: Run, picture: Path) -> None:
    result = command("predict", picture, picture, "--model", small_run.folder, "--top", "2", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answers = json.loads(result.stdout)
    assert [answer["image"] for answer in answers] == [str(picture)] * 2
    assert set(answers[0]) >= {"image", "label", "probability", "rejected", "top"}
    assert len(answers[0]["top"]) == 2
    assert answers[0]["label"] == answers[0]["top"][0][0]


def test_predict_in_words_and_in_csv(command: Command, small_run: Run, picture: Path, tmp_path: Path) -> None:
    result = command("predict", picture, "--model", small_run.model, "--csv", tmp_path / "a.csv")
    assert result.returncode == 0
    assert re.match(rf"{re.escape(str(picture))}: \d  \d+\.\d%", result.stdout)
    header, row = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "image,label,probability,rejected,error"
    assert row.startswith(f"{picture},")


def test_bad_pictures_are_named_and_the_good_one_is_answered(
    command: Command, small_run: Run, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "half.png").write_bytes(picture.read_bytes()[:200])
    names = ["empty.png", "text.png", "half.png", "gone.png"]
    result = command("predict", *names, picture, "--model", small_run.model, "--json", cwd=tmp_path)
    assert result.returncode == 1
    answers = json.loads(result.stdout)
    assert [answer["image"] for answer in answers] == [*names, str(picture)]
    for name, answer in zip(names, answers, strict=False):
        assert set(answer) == {"image", "error"}
        assert name in answer["error"]
    assert answers[-1]["label"]
    assert len(result.stderr.strip().splitlines()) == 4
    assert "Traceback" not in result.stderr


def test_a_blank_picture_is_no_digit(command: Command, small_run: Run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((80, 80), 250, np.uint8))
    result = command("predict", tmp_path / "blank.png", "--model", small_run.model)
    assert result.returncode == 0
    assert "nothing found" in result.stdout


def test_evaluate_writes_the_report_and_figures(
    command: Command, small_run: Run, small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    result = command("evaluate", small_run.model, "--data", small_file, "--out", out, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report == json.loads((out / "report.json").read_text())
    assert report["accuracy"] == pytest.approx(small_run.report["accuracy"])  # type: ignore[index]
    assert {path.name for path in out.iterdir()} == {"report.json", "confusion.png", "wrong.png"}


def test_train_answers_in_json(command: Command, small_file: Path, tmp_path: Path) -> None:
    result = command("train", "--data", small_file, "--epochs", "1", "--out", tmp_path / "run", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == json.loads((tmp_path / "run" / "report.json").read_text())


def test_a_run_folder_in_the_way_is_refused_and_left_alone(command: Command, small_run: Run, small_file: Path) -> None:
    before = small_run.model.read_bytes()
    result = command("train", "--data", small_file, "--out", small_run.folder)
    assert result.returncode == 1
    assert "--resume goes on, --overwrite starts anew" in one_line(result.stderr)
    assert small_run.model.read_bytes() == before


def test_data_list_tells_what_is_here(command: Command, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HANDWRITING_DATA": str(tmp_path)}
    rows = {row["name"]: row for row in json.loads(command("data", "list", "--json", env=environment).stdout)}
    assert rows["mnist-sample"]["here"] is True
    assert rows["mnist"]["here"] is False
    assert "mnist-sample" in command("data", "list", env=environment).stdout


def test_fetching_what_comes_with_a_package_says_so(command: Command) -> None:
    assert "nothing to fetch" in command("data", "fetch", "mnist-sample").stdout
