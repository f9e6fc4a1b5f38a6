"""Measure everything that docs/performance.md shows, and put it there.

``python benchmarks/performance.py [PART ...]``, on a machine that does nothing else; parts are
bench, errors, scaling, settings and start, all of them if none is named.  What each command
printed goes between the marks ``<!-- PART -->`` and ``<!-- end -->`` of the page.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
# commands as they are typed in a checkout, and the picture that belongs to each
COMMANDS = {
    "bench": ("dfc-neuro bench --json results/bench.json", "bench"),
    "errors": ("python benchmarks/step_errors.py", None),
    "scaling": ("python benchmarks/scaling.py --figure docs/images/scaling.png", "scaling"),
    "settings": ("python benchmarks/settings.py", None),
    "start": ("python benchmarks/import_time.py --cold", None),
}
PICTURES = {
    "bench": "Time per minibatch and part of the matrix-product rate, by method and precision",
    "scaling": "Time per minibatch against batch and T, and lines of slope 1",
}


def run(command: str) -> str:
    """Run a command in the checkout with this interpreter; return what it printed."""
    program, *words = command.split()
    module = ["-m", "dfc_neuro"] if program == "dfc-neuro" else []
    return subprocess.run([sys.executable, *module, *words], cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def filled(page: str, part: str, text: str) -> str:
    """Return the page with other text between the marks of a part."""
    found, count = re.subn(rf"(<!-- {part} -->\n).*?(<!-- end -->)",
                           lambda m: f"{m[1]}{text}{m[2]}", page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE.name} has {count} places for '{part}'")
    return found


def main(parts: list[str]) -> None:
    """Run what is asked for and write the page after each part."""
    unknown = set(parts) - set(COMMANDS)
    if unknown:
        raise SystemExit(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(COMMANDS)}")
    for folder in ("results", "docs/images"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    for part in parts or list(COMMANDS):
        command, picture = COMMANDS[part]
        text = f"```\n$ {command}\n{run(command).rstrip()}\n```\n"
        if picture == "bench":
            run("dfc-neuro figure bench -o docs/images --format png")
        if picture:
            text += f"\n![{PICTURES[picture]}](images/{picture}.png)\n"
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), part, text), encoding="utf-8")
        print(f"{part}: {PAGE.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
