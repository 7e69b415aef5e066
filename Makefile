# Two commands do everything: `make demo` and `make test`. Each sets the machine up first, if it has to.
# The stamp depends on the lock, so a changed lock installs again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers-installed
TORCH := torch==2.13.0
# Heavy on both processors, for which the agents of chips in the other tests would be late. The longest files first:
# what is left when one worker has nothing more to do should be short.
APART := tests/transcript tests/test_sandbox.py tests/attacks
BROWSER := apt-get install -y -q --no-install-recommends chromium chromium-driver

.PHONY: demo test bench lint seeds setup clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo            train real models under watch and say what could have been hidden (OUT=FOLDER)"
	@echo "make test            linters, types, import contracts and the tests"
	@echo "make bench [NAME=…]  one JSON line a figure"
	@echo "make seeds [N=10]    the demo on fresh seeds in a row, no retries"

setup: $(STAMP) system

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "weighbridge needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

$(PEERS): $(STAMP) requirements-peers.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-peers.lock
	@touch $(PEERS)

# Replay runs code that is not ours: it needs bubblewrap, which pip cannot bring.
.PHONY: system
system:
	@command -v bwrap >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    (apt-get install -y -q bubblewrap || (apt-get update -q && apt-get install -y -q bubblewrap)) >/dev/null; \
	  else echo "weighbridge needs bubblewrap: sudo apt-get install bubblewrap"; exit 1; fi; }

# Pages are tested in a real browser; where it cannot be installed, those tests are skipped and say so.
.PHONY: browser
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    ($(BROWSER) || (apt-get update -q && $(BROWSER))) >/dev/null 2>&1 || echo "no browser: its tests are skipped"; \
	  else echo "no browser, so its tests are skipped: sudo apt-get install chromium chromium-driver"; fi; }

demo: setup
	$(BIN)/weighbridge demo $(if $(OUT),--out $(OUT))

test: setup $(PEERS) browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile $(APART:%=--ignore=%)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(APART)

# The demo on fresh seeds in a row, without retries: minutes each.
seeds: setup
	$(BIN)/python tests/demo_seeds.py $(or $(N),10)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@$(BIN)/python benchmarks/run.py $(NAME)

clean:
	rm -rf $(VENV)
