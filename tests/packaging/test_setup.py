"""The set-up says in one line what is missing, before it makes or downloads anything."""

import shutil
import subprocess

import pytest


@pytest.fixture
def setup(repository, tmp_path):
    """Return a function that runs the set-up where only the named interpreters exist."""
    for tool in ("bash", "dirname", "tail", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool))

    def run(*words, **interpreters):
        for name, script in interpreters.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!{tmp_path}/bash\n{script}\n")
            path.chmod(0o755)
        return subprocess.run(
            [repository / ".ci" / "venv", "test", *words],
            env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=30,
        )

    return run


OLD = 'if [ "$1" = --version ]; then echo Python 3.9.1; else echo 3.9; exit 1; fi'
HIDDEN = "echo 'pyenv: command not found' >&2; exit 127"


def test_none_is_new_enough(setup):
    done = setup(python3=OLD, python3_13=HIDDEN)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dfc_neuro: no Python 3.11 or newer was found; install one")
    assert done.stderr.count("\n") == 1


def test_the_one_asked_for_is_too_old(setup):
    done = setup("python3", python3=OLD)
    assert done.returncode == 2
    assert done.stderr == "dfc_neuro: PYTHON=python3 is Python 3.9.1; 3.11 or newer is needed\n"


@pytest.mark.parametrize("name", ["python3.13", "nowhere/python"])
def test_the_one_asked_for_does_not_run(setup, name):
    done = setup(name, python3_13=HIDDEN)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dfc_neuro: PYTHON={name} does not run; give the command or")
