"""Sessions that need environments of their own: the base install, which predicts without torch, on each Python."""

import os
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
_PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# Interpreters kept by pyenv are not on PATH unless somebody chose them; the tests should find them all the same.
for _python in _PYTHONS:
    for _folder in sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{_python}.*/bin")):
        os.environ["PATH"] += os.pathsep + str(_folder)


@nox.session(python=_PYTHONS, reuse_venv=True)
def base(session: nox.Session) -> None:
    """Install without any extra and predict: no torch, no scikit-learn, no matplotlib."""
    session.install(".", "pytest")
    session.run("pytest", "-q", "--confcutdir=tests/base", "tests/base")
