"""The files that say the same thing twice say the same thing."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dfc_neuro

# What conda needs and pyproject.toml cannot name.
ONLY_CONDA = {"python", "pip", "make", "compilers"}


@pytest.fixture(scope="module")
def project(repository):
    """Return the table [project] of pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def ranges(requirements):
    """Return the ranges of requirements by name, for the lowest Python that is supported."""
    parsed = [Requirement(text) for text in requirements]
    return {
        item.name: item.specifier
        for item in parsed
        if item.marker is None or item.marker.evaluate({"python_version": "3.11"})
    }


def conda_ranges(text):
    """Return the ranges of environment.yml by name, without those that pip installs."""
    lines = re.findall(r"^  - ([\w.-]+) ?([<>=!~\d.,]*) *(?:#.*)?$", text, flags=re.MULTILINE)
    return {name: SpecifierSet(found) for name, found in lines}


def test_environment_and_pyproject_agree(repository, project):
    conda = conda_ranges((repository / "environment.yml").read_text())
    conda.pop("conda-forge")
    conda.pop("nodefaults")
    pip = ranges(project["dependencies"] + project["optional-dependencies"]["test"])

    assert conda["python"] == SpecifierSet(project["requires-python"])
    assert {name: found for name, found in conda.items() if name not in ONLY_CONDA} == pip


def test_every_python_gets_each_requirement_once(project):
    parsed = [Requirement(text) for text in project["dependencies"]]
    for version in ("3.11", "3.12", "3.13"):
        names = [
            item.name
            for item in parsed
            if item.marker is None or item.marker.evaluate({"python_version": version})
        ]
        assert sorted(names) == sorted({item.name for item in parsed})


def test_numpy_is_held_back_where_brian2_needs_it(project):
    """Brian2 2.9, the last for Python 3.11, does not import with NumPy 2.4."""
    found = ranges(project["dependencies"])
    assert found["numpy"].contains("2.3.5") and not found["numpy"].contains("2.4.0")


def test_every_package_is_named(repository):
    """The folders are named one by one in pyproject.toml; an unnamed one is not installed."""
    named = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for folder in ("dfc_neuro", "models", "protocols", "figures"):
        for path in (repository / folder).rglob("__init__.py"):
            name = ".".join(path.parent.relative_to(repository).parts)
            found.add(name if folder == "dfc_neuro" else f"dfc_neuro.{name}")
    assert set(named["packages"]) == found


def test_version_stands_in_three_files_alike(repository, project):
    citation = (repository / "CITATION.cff").read_text()
    assert dfc_neuro.__version__ == project["version"]
    assert f"\nversion: {project['version']}\n" in citation


def test_description_and_readme_say_what_it_is(repository, project):
    first = (repository / "README.md").read_text(encoding="utf-8").splitlines()[0]
    for text in (project["description"], first):
        assert "biophysical multi-compartment neuron simulator" in text
