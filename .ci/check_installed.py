"""Check an installed dfc_neuro: a checkout's models, protocols and figures are there and load.

Usage, with the interpreter of the environment and from any folder: check_installed.py CHECKOUT
"""

import subprocess
import sys
from importlib import import_module
from importlib.metadata import files as installed_files
from importlib.resources import files
from pathlib import Path

DATA = ("models", "protocols", "figures")


def main(checkout: Path) -> None:
    """Compare the installed package with the checkout, then open everything it holds."""
    import dfc_neuro

    package = Path(dfc_neuro.__file__).parent
    if checkout in package.parents:
        sys.exit(f"this is the checkout's own package, not an installed one: {package}")

    wanted = {Path("dfc_neuro") / path for path in tracked(checkout, "dfc_neuro")}
    for folder in DATA:
        wanted |= {Path("dfc_neuro") / folder / path for path in tracked(checkout, folder)}
    installed = {
        path
        for path in map(Path, map(str, installed_files("dfc-neuro") or []))
        if path.parts[0] != ".." and not path.parts[0].endswith(".dist-info")
        if path.suffix != ".pyc"
    }
    if installed != wanted:
        sys.exit(
            f"not installed: {sorted(map(str, wanted - installed))}\n"
            f"installed, and git does not know it: {sorted(map(str, installed - wanted))}"
        )
    print(f"{len(installed)} files installed, those that git knows")

    texts = [
        str(path)
        for folder in ("models", "protocols")
        for path in sorted(Path(str(files(f"dfc_neuro.{folder}"))).rglob("*.toml"))
    ]
    command("check", *texts)
    for path in texts:
        dfc_neuro.load(Path(path).stem)
    print(f"{len(texts)} models and protocols load by name")

    scripts = [path for path in tracked(checkout, "figures") if path.suffix == ".py"]
    figures = [path.stem for path in scripts if not path.stem.startswith("_")]
    for name in figures:
        import_module(f"dfc_neuro.figures.{name}")
    print(f"{len(figures)} figure modules import")

    for words in (["--help"], ["list"], ["doctor"]):
        command(*words)


def tracked(checkout: Path, folder: str) -> list[Path]:
    """Return the files, but for pages, that git knows below a folder, relative to it."""
    done = subprocess.run(
        ["git", "-C", str(checkout / folder), "ls-files", "-z", "."],
        capture_output=True, text=True, check=True,
    )
    return [Path(name) for name in done.stdout.split("\0") if name and not name.endswith(".md")]


def command(*words: str) -> None:
    """Run dfc-neuro of this environment; show what it said only when it failed."""
    script = Path(sys.executable).parent / "dfc-neuro"
    done = subprocess.run(
        [script, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.exit(f"dfc-neuro {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"dfc-neuro {words[0]}: well")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
