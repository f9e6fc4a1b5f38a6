"""``python -m dfc_neuro``: the command ``dfc-neuro``."""

from dfc_neuro.cli import main

if __name__ == "__main__":
    main(prog_name="dfc-neuro")
