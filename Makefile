# GNU make. `make help` lists the targets; each works alone from a fresh clone.
# Set-up takes the first Python of at least 3.11 it finds; PYTHON=/path/to/python3 chooses another.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.accsim-installed
JOBS := 2
MAIN_JOB := accsim run flat_cloud "bert_base?seq=4096&batch=64" --compare unfused,flat,flash

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint bench docs pictures clean force

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s%s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv and install accsim with its development tools into it

demo: setup ## Run the main job: three ways of attention compared on one machine
	@echo 'BERT-base at sequence length 4096 and batch 64 on the cloud accelerator of FLAT (ASPLOS 2023):'
	@echo 'un-fused attention, FLAT and FlashAttention-2 side by side, and what binds each.'
	@echo
	@echo '$$ $(MAIN_JOB)'
	@$(BIN)/$(MAIN_JOB)

test: setup ## Run the tests and the examples in docstrings
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

test-all: setup ## Run the long tests too, and draw new examples for the property tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --hypothesis-profile=new

lint: setup ## Check style, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Measure the engines, the batch entry and the main job
	$(BIN)/python -m pytest benchmarks --benchmark-only

docs: setup ## Build the pages of docs/ as HTML in docs/_build
	@$(BIN)/python -c 'import myst_parser, numpydoc, sphinx' 2>/dev/null || \
	  $(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[docs]'
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo 'Written: docs/_build/index.html'

pictures: setup ## Draw the pictures of docs/fused_attention.md again
	$(BIN)/python docs/make_pictures.py

clean: ## Remove caches and build outputs, not .venv
	rm -rf build dist docs/_build accsim.egg-info htmlcov .coverage .coverage.* coverage.xml .benchmarks .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up runs when the metadata is newer than the stamp, when the environment does not start, and when the stamp names
# another folder: neither an environment nor an editable install survives a move of the checkout.
ifneq ($(shell $(BIN)/python -c pass 2>/dev/null && cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): force
endif

RECENT := import sys; assert sys.version_info >= (3, 11)

# An environment that someone else made here (no stamp) is kept if it is recent enough and has pip. A link to that of
# another checkout is not cleared: it would be gone there too.
$(STAMP): setup.cfg pyproject.toml
	@if [ -L $(VENV) ] && [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != '$(CURDIR)' ]; then \
	  echo '$(VENV) is a link to the environment of another checkout. Remove the link, then make setup' >&2; \
	  exit 1; \
	fi
	@if [ ! -f $(STAMP) ] || [ "$$(cat $(STAMP))" = '$(CURDIR)' ]; then \
	  $(BIN)/python -c '$(RECENT); import pip' 2>/dev/null && exit 0; \
	fi; \
	found=; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c '$(RECENT)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'accsim needs Python 3.11 or newer, and none was found.' >&2; \
	  echo 'Install one, or name one: make setup PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$found ($$("$$found" --version))"; \
	"$$found" -m venv --clear $(VENV) && exit 0; \
	echo "$$found cannot make an environment with pip. On Debian or Ubuntu: apt install python3-venv" >&2; \
	exit 1
	@echo 'Installing accsim and its development tools into $(VENV) (minutes the first time)'
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@printf '%s\n' '$(CURDIR)' > $(STAMP)

force:
