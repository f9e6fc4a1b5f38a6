"""Who may import what, read from the syntax trees of the package, and what an import drags in."""

import ast
import json
import subprocess
import sys

import pytest

# A top-level package, and the modules of dfc_neuro that may import it.
ONLY_IN = {
    "brian2": ("brian/",),
    "numba": ("kernels/", "rates/"),
    "dask": "sweep/",
    "distributed": "sweep/",
}
# Names by which Brian2's global state is reached; one module holds them.
GLOBAL_STATE = {"prefs", "device", "set_device", "get_device", "defaultclock", "all_devices"}
LONGEST_MODULE = 450


@pytest.fixture(scope="module")
def trees(repository):
    """Return the syntax tree of every module, by its path within the package."""
    package = repository / "dfc_neuro"
    found = {
        path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in package.rglob("*.py")
    }
    assert "errors.py" in found
    return found


def imports(tree):
    """Return the full names of what a module imports, wherever it does so."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def brian_names(tree):
    """Return what a module takes from Brian2: attributes of its alias, and imported names."""
    aliases, taken = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {a.asname or a.name for a in node.names if a.name.split(".")[0] == "brian2"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "brian2":
            taken |= {alias.name for alias in node.names}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in aliases
        ):
            taken.add(node.attr)
    return taken


@pytest.mark.parametrize("library", ONLY_IN)
def test_engines_stay_in_their_folders(trees, library):
    users = {
        path
        for path, tree in trees.items()
        if any(name.split(".")[0] == library for name in imports(tree))
    }
    assert {path for path in users if not path.startswith(ONLY_IN[library])} == set()


def test_one_module_reaches_the_global_state_of_brian2(trees):
    users = {path for path, tree in trees.items() if brian_names(tree) & GLOBAL_STATE}
    assert users <= {"brian/device.py"}


def test_no_magic_network_and_no_wildcard(trees):
    magic = {"run", "start_scope", "MagicNetwork", "magic_network", "stop", "*"}
    assert {path: brian_names(tree) & magic for path, tree in trees.items()} == {
        path: set() for path in trees
    }


def test_analysis_and_plots_know_results_not_simulations(trees):
    engines = ("dfc_neuro.brian", "dfc_neuro.rates", "brian2", "numba")
    for part in ("plot", "analysis"):
        paths = [path for path in trees if path.startswith((f"{part}.", f"{part}/"))]
        assert paths, part
        for path in paths:
            assert {name for name in imports(trees[path]) if name.startswith(engines)} == set()


def test_the_library_never_imports_models_protocols_or_figures(trees):
    data = ("dfc_neuro.models", "dfc_neuro.protocols", "dfc_neuro.figures")
    users = {path: [n for n in imports(tree) if n.startswith(data)] for path, tree in trees.items()}
    assert {path: names for path, names in users.items() if names} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import dfc_neuro",
        "import dfc_neuro; from dfc_neuro.cli import main; main(['--help'], standalone_mode=False)",
    ],
    ids=["import", "help"],
)
def test_a_start_imports_no_heavy_library(statement, workdir):
    heavy = ["brian2", "numba", "scipy", "sklearn", "matplotlib", "xarray", "sympy", "dask",
             "distributed"]
    listing = f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    code = f"{statement}\nimport json, sys\n{listing}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_modules_are_short_enough_to_find_a_line_in(repository):
    long = {
        path.relative_to(repository).as_posix(): lines
        for folder in ("dfc_neuro", "figures", "tests", "benchmarks")
        for path in (repository / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}
