#!/usr/bin/env bash
# The second context of a data set in a run is dropped, and nothing says so
#
# Software:   mlflow-skinny 3.17.2, the tracking half of mlflow 3.17.2, with SQLite as store
# Behaviour:  mlflow.log_input(data, context="training") and then mlflow.log_input(data, context="validation") in the
#             same run leave one input: the first, with the context "training". Tags given with the second call are gone
#             too, and in mlflow.log_inputs the second entry of the same data set is. No error, no warning.
# Surprise:   context and tags belong to the input, not to the data set, so two uses look like two inputs; calls that
#             set a parameter to another value do raise. Cross-validation and "fit on all, then score on all" do use
#             one data set twice, and a search for runs by dataset.context = 'validation' then misses them.
# Instead:    give each use a data set of its own name: what counts as the same is name and digest. Or log it once and
#             name all uses in one tag.
#
# Exit codes: 0 as described, 1 the behaviour changed, 2 the packages could not be installed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH PYTHONHOME "${!MLFLOW_@}"
export MLFLOW_DISABLE_TELEMETRY=true

install() {
    python3 -m venv venv
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --python venv/bin/python "$@"
    else
        venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}
install mlflow-skinny==3.17.2 pandas==3.1.1 sqlalchemy==2.1.9 alembic==1.20.1 \
    || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import logging
import sys
import warnings

import mlflow
import pandas

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)


def expect(seen, wanted, what):
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


class Told(logging.Handler):
    "Keeps what MLflow logs."

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def read_inputs(run):
    inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    return sorted((put.dataset.name, {tag.key: tag.value for tag in put.tags}) for put in inputs)


def count_runs(context):
    return len(mlflow.search_runs(filter_string=f"dataset.context = '{context}'"))


mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("contexts")
told = Told()
logging.getLogger("mlflow").addHandler(told)
frame = pandas.DataFrame({"limit": [500.0, 800.0, 1200.0]})
clients = mlflow.data.from_pandas(frame, name="clients")
first_only = [("clients", {"mlflow.data.context": "training"})]

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    with mlflow.start_run() as run:
        mlflow.log_input(clients, context="training")
        mlflow.log_input(clients, context="validation", tags={"fold": "2"})
    seen = read_inputs(run)
    with mlflow.start_run() as run:
        mlflow.log_inputs([clients, clients], contexts=["training", "validation"], tags_list=[None, {"fold": "2"}])
    at_once = read_inputs(run)
messages = [*told.messages, *(str(warning.message) for warning in warned)]
messages = [message for message in messages if "dataset" in message.lower() or "input" in message.lower()]
print("log_input twice:         ", seen)
print("log_inputs once:         ", at_once)
print("warnings of data sets:   ", messages)
print("runs found by validation:", count_runs("validation"))
expect(seen, first_only, "what two calls of log_input leave")
expect(at_once, first_only, "what one call of log_inputs leaves")
expect(messages, [], "the list of warnings")
expect((count_runs("training"), count_runs("validation")), (2, 0), "the number of runs found by each context")

again = mlflow.data.from_pandas(frame, name="clients, validation")
with mlflow.start_run() as run:
    mlflow.log_input(clients, context="training")
    mlflow.log_input(again, context="validation", tags={"fold": "2"})
seen = read_inputs(run)
print("with a name for each use:", seen)
kept = first_only + [("clients, validation", {"fold": "2", "mlflow.data.context": "validation"})]
expect(seen, kept, "what a name for each use leaves")
expect(count_runs("validation"), 1, "the number of runs found by validation")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
