"""The page on formats: its files load, and it names every key that there is."""

import re

import pytest

import dfc_neuro as dn
from dfc_neuro.files import protocols, schema
from dfc_neuro.files.protocols import STIMULI


@pytest.fixture(scope="module")
def page(repository):
    """Return the text of the page."""
    return (repository / "docs" / "formats.md").read_text(encoding="utf-8")


def test_files_shown_load(page, workdir):
    shown = re.findall(r"^```toml\n# (\S+)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    kinds = set()
    for name, text in shown:
        (workdir / name).write_text(text, encoding="utf-8")
        kinds.add(dn.load(f"./{name}").kind)
    assert kinds == {"cell", "synapse", "controller", "rule", "circuit", "recording", "learning"}


@pytest.mark.parametrize("model", [
    schema.Cell, schema.Synapse, schema.Controller, schema.Rule, schema.Circuit, schema.Projection,
    schema.Population, schema.Compartment, protocols.RecordingProtocol, protocols.LearningProtocol,
    protocols.RecordingNumerics, protocols.LearningNumerics, protocols.Phase, protocols.Schedule,
    protocols.Stimulus, protocols.Train, protocols.Plastic, protocols.Record])
def test_every_key_is_named(page, model):
    keys = {field.alias or name for name, field in model.model_fields.items()} - {"keys"}
    words = set(re.findall(r"[A-Za-z_]+", " ".join(re.findall(r"`[^`\n]+`|^```toml.*?^```", page,
                                                               flags=re.MULTILINE | re.DOTALL))))
    words |= {w for block in re.findall(r"^```toml\n(.*?)^```$", page,
                                        flags=re.MULTILINE | re.DOTALL)
              for w in re.findall(r"[A-Za-z_]+", block)}
    assert keys - words == set()


def test_every_type_of_stimulus_has_its_row(page):
    rows = set(re.findall(r"^\| `([a-z]+)` \| `?[a-z]", page, flags=re.MULTILINE))
    assert set(STIMULI) <= rows
