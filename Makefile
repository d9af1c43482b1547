# Everything works in .venv, by constraints.txt (the versions that were tested together).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help export assets demos web bench golden docs test test-all test-fast lint format clean

help:  ## Say what there is.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed; say which with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.export: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[export]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt requirements-look.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-look.txt
	@touch $@ $(VENV)/.export

export: $(VENV)/.export  ## Set up and export the bundled rid-s to dist/, each file verified.
	$(BIN)/rid-export --target all -o dist

assets: $(VENV)/.export  ## Write the bundled ONNX files anew, after new weights.
	for name in rid-n rid-s; do \
	  $(BIN)/rid-export --checkpoint $$name --target onnx --bare -o build/assets || exit 1; done
	cp build/assets/rid-n.onnx build/assets/rid-s.onnx rid_core/assets/

web: $(VENV)/.export  ## Build the page that protects photos in a browser, and serve it (needs npm).
	$(BIN)/rid-export --target onnx -o dist
	cd web_demo && npm ci && RID_MODEL=../dist/rid-s.onnx npm run build && npm run preview

demos: $(VENV)/.test  ## Check the demos: compile them, run their tests; fetches compilers and a browser.
	RID_DEMOS=1 $(BIN)/python -m pytest tests/demos -s

bench: $(VENV)/.test  ## Measure everything on this machine; writes benchmarks/results/.
	benchmarks/bench.sh

golden: $(VENV)/.test  ## Write tests/golden anew, after a new rid-s or a change of an algorithm.
	$(BIN)/python tests/golden/generate.py

docs: $(VENV)/.test  ## Build the documentation into site/, strictly, and check its pages.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest -q tests/test_docs.py

# One file after the other in each of two processes: what a file makes once is made once.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/.test  ## Set up and run the tests but for full matrices and long searches.
	$(PYTEST) -m 'not full'

test-all: $(VENV)/.test  ## Run the whole test suite.
	$(PYTEST)

test-fast: $(VENV)/.test  ## Leave out what takes more than about ten seconds.
	$(PYTEST) -m 'not slow and not full'

lint: $(VENV)/.test  ## Style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test  ## Mend the style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what was built; keeps .venv and runs/.
	rm -rf dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
