"""What every test shares: folders, an empty working directory, and no figure left open."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

os.environ["MPLBACKEND"] = "Agg"

# No times: a first call compiles, a machine may be busy. On CI the examples are the same each time.
hypothesis.settings.register_profile(
    "dfc", deadline=None, derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("dfc")


def pytest_configure(config):
    """Keep compiled kernels in pytest's own cache, not in the user's, for all processes."""
    os.environ.setdefault("DFC_NEURO_CACHE", str(config.cache.mkdir("kernels")))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data(repository) -> Path:
    """Return the folder of the data that tests compare with."""
    return repository / "tests" / "data"


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """Run the test in an empty folder, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
