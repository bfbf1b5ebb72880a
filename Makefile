# The one vocabulary of people, hooks and CI.
PYTHON  ?= python3
PROFILE ?= full
KILLS   ?= 5
BIN     := .venv/bin
READY   := .venv/.ready
NOTEBOOKS := nbs/index.ipynb nbs/experiments/explore.ipynb nbs/experiments/search.ipynb \
             nbs/experiments/compare.ipynb nbs/experiments/judge.ipynb nbs/experiments/audit.ipynb nbs/experiments/twin.ipynb nbs/experiments/ask.ipynb nbs/app/dashboard.ipynb

.DEFAULT_GOAL := help
.PHONY: help run serve test test-notebooks test-library browser screens chaos sync outputs check lab hooks record canary lock clean

help:  ## list these targets
	@echo "rumos_bank: make <target>"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
	  awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	  sys.exit(0 if ok else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	@echo "Installing into .venv from requirements.lock (one or two minutes with pip, seconds with uv) ..."
	@if command -v uv >/dev/null 2>&1; then \
	  UV_PYTHON_DOWNLOADS=never uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv && \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $(READY)

run: $(READY)  ## data, notebooks, leaderboard, champion, report (PROFILE=quick: a sample)
	@$(BIN)/rumos run --profile $(PROFILE)

serve: $(READY)  ## MLflow on 5000, the API on 5001, the dashboard on 5002, until Ctrl-C
	@$(BIN)/rumos serve all

test: $(READY) browser test-notebooks test-library  ## everything: notebooks (nbval) and library (pytest)

test-notebooks: $(READY)  ## run every notebook; the library's must give the outputs they show
	@$(BIN)/python -m pytest --nbval nbs/lib
	@RUMOS_STORE_PATH="$$(mktemp -d)" RUMOS_LEDGER_FOLDER="$$(mktemp -d)" RUMOS_DATA_SOURCES=twin $(BIN)/python -m pytest --nbval-lax $(NOTEBOOKS)

test-library: $(READY)  ## the tests in tests/
	@$(BIN)/python -m pytest tests

browser: $(READY)  ## a Chromium for the desk's tests: Debian's as root, else Playwright's own
	@command -v chromium >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && apt-get install -y -qq chromium >/dev/null 2>&1; } || \
	  $(BIN)/python -m playwright install chromium >/dev/null 2>&1 || \
	  echo "No Chromium could be installed: the desk's tests in a browser will be skipped."

screens: $(READY) browser  ## pictures of the desk over the bank's store, and what it takes, into reports/record/screens
	@$(BIN)/python tests/dashboard/record_screens.py

chaos: $(READY)  ## break a small bank in every known way into reports/record/chaos.md (KILLS=50: so many killed roads)
	@$(BIN)/python tests/chaos/run_chaos.py --kills $(KILLS)

sync: $(READY)  ## format notebooks, export the library, write README.md
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .
	@$(BIN)/nbdev-export && touch -c $(READY)  # it writes pyproject.toml anew, with the same text
	@cp settings.ini rumos_bank/assets/settings.ini
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace nbs/index.ipynb
	@$(BIN)/nbdev-clean
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to markdown --TagRemovePreprocessor.remove_input_tags=hide-input \
	  --output-dir _proc --output README nbs/index.ipynb
	@{ echo '<!-- generated from nbs/index.ipynb by make sync -->'; \
	  sed -E 's#(]\(|src=")(images|lib|experiments|app)([/)])#\1nbs/\2\3#g; s#(]\(|src=")\.\./#\1#g' _proc/README.md | cat -s; } > README.md

outputs: $(READY)  ## run the library's notebooks and keep what they show
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace nbs/lib/*.ipynb
	@$(MAKE) --no-print-directory sync

check: $(READY)  ## format, lint, types, notebooks and library agree, house rules hold
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run make sync"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/notebooks

lab: $(READY)  ## open JupyterLab
	@$(BIN)/jupyter lab nbs

hooks: $(READY)  ## let git run `make sync check` before each commit
	@printf '#!/bin/sh\nmake --no-print-directory sync check\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	@chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"
	@echo "Installed: each commit now runs make sync check."

record: $(READY)  ## write reports/record from the newest full road on real data, and README.md
	@$(BIN)/rumos record
	@$(MAKE) --no-print-directory sync

canary: $(READY)  ## what the installed versions make of the champion on record
	@$(BIN)/rumos canary

lock: $(READY)  ## pin all packages anew (needs uv)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" UV_PYTHON_DOWNLOADS=never uv pip compile --quiet --universal --generate-hashes \
	  --upgrade --python-version 3.11 --python $(BIN)/python pyproject.toml --extra api --extra desk --extra cluster --group dev -o requirements.lock

clean:  ## remove what was made: .venv, caches, reports of roads (the store is kept)
	@rm -rf .venv build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis _proc
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find reports -mindepth 1 -maxdepth 1 ! -name README.md ! -name record -exec rm -rf {} +
