#!/bin/sh
# What an image named $1 holds, into /opt/rumos: the packages of its lock, each with its hash, then the library. Pip itself goes.
set -eu

/opt/rumos/bin/pip install --require-hashes --only-binary :all: -r "/src/containers/$1.lock"
/opt/rumos/bin/pip install --no-deps /wheel/*.whl
/opt/rumos/bin/pip uninstall --yes pip
