# Every target sets up what it needs by itself, in .venv-VERSION, and re-uses it the next time.
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?=
TESTS ?= tests
WORKERS ?= -n logical --maxprocesses 4 --dist loadfile

.PHONY: help demo test lint clean

help:
	@echo 'make demo    set up, train the quickstart network and draw its figure'
	@echo 'make test    set up and run the tests (some of them: make test TESTS=tests/unit; in one process: WORKERS=)'
	@echo 'make lint    set up and run ruff and mypy'
	@echo 'make clean   remove the environments, caches and build output; results stay'
	@echo 'Add PYTHON=python3.12 (or a path) to choose the interpreter.'

demo:
	@venv="$$(.ci/venv test '$(PYTHON)')" && PATH="$$venv/bin:$$PATH" && export PATH && \
	dfc-neuro run quickstart --force && dfc-neuro figure quickstart

test:
	@venv="$$(.ci/venv test '$(PYTHON)')" && "$$venv/bin/python" -m pytest $(WORKERS) $(TESTS)

lint:
	@venv="$$(.ci/venv dev '$(PYTHON)')" && "$$venv/bin/ruff" check . && "$$venv/bin/mypy"

clean:
	rm -rf .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find dfc_neuro figures models protocols tests -name __pycache__ -type d -prune -exec rm -rf {} +
