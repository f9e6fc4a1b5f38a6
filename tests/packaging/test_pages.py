"""What README and the other pages show exists, and no file names one person's machine."""

import ast
import re
import tomllib

import pytest

import dfc_neuro as dn
from dfc_neuro.cli import main

PAGES = ["README.md", "CONTRIBUTING.md", "docs/index.md"]
TEXT = {".py", ".toml", ".md", ".yml", ".cff", ".in", ".csv", ".txt", ".json", ".mplstyle"}
FOLDERS = ["dfc_neuro", "models", "protocols", "figures", "tests", "benchmarks", "docs", ".ci"]


def blocks(text, language):
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(repository, page):
    path = repository / page
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    inside = [target for target in targets if not target.startswith("https://")]
    assert [target for target in inside if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_shown_exist(repository, page):
    text = (repository / page).read_text(encoding="utf-8")
    shown = set(re.findall(r"dfc-neuro ([a-z]+)", text))
    targets = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, flags=re.MULTILINE))
    makefile = (repository / "Makefile").read_text(encoding="utf-8")

    assert shown <= set(main.commands)
    for name in filter(None, (name for pair in targets for name in pair)):
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), name


def test_readme_shows_every_command(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `dfc-neuro ([a-z]+)", text, flags=re.MULTILINE))
    assert rows == set(main.commands)


def test_options_shown_exist(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"dfc-neuro [a-z]+ [^`\n]*", text):
        command = main.commands[line.split()[1]]
        known = {name for option in command.params for name in option.opts}
        assert set(re.findall(r"(?<=[ \[])--?[a-z]+", line)) <= known, line


def test_files_shown_are_valid(repository, workdir):
    """The model files of README pass the check, under the names that they have there."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    shown = {}
    for block in blocks(text, "toml"):
        name = re.match(r"# (\S+\.toml)\n", block).group(1)
        (workdir / name).write_text(block, encoding="utf-8")
        shown[name] = tomllib.loads(block)["kind"]

    assert {"cell", "rule"} <= set(shown.values())
    for name, kind in shown.items():
        model = dn.load(f"./{name}")
        assert type(model).__name__.lower() == kind


def test_names_shown_in_python_exist(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    found = []
    for block in blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            dotted = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if re.fullmatch(r"dn(\.\w+)+", dotted):
                found.append(dotted)
                value = dn
                for name in dotted.split(".")[1:]:
                    value = getattr(value, name)
    assert {"dn.run", "dn.plot.learning_curve", "dn.load"} <= set(found)


def test_no_path_of_one_machine(repository):
    paths = [p for p in repository.iterdir() if p.is_file()]
    for folder in FOLDERS:
        paths += [p for p in (repository / folder).rglob("*") if p.is_file()]
    pattern = re.compile(r"/(root|work|home/[a-z]+|Users/[a-z]+)/|/tmp/[a-z]|file:///")
    found = [
        f"{path.relative_to(repository)}: {line.strip()}"
        for path in paths
        if path.suffix in TEXT or path.parent.name == ".ci" or path.name == "Makefile"
        for line in path.read_text(encoding="utf-8").splitlines()
        if pattern.search(line) and "re.compile" not in line
    ]
    assert found == []
