# syntax=docker/dockerfile:1
# One image for each service and one for the pipeline. Each holds the packages of its own lock (containers/<target>.lock, a part of
# requirements.lock), the library as a wheel, and a user without a name. Only /tmp and what is mounted is ever written.
#
# The base is named by its digest (an index, so that it fits amd64 and arm64). To refresh it:
#   docker buildx imagetools inspect python:3.12-slim-bookworm --format '{{.Manifest.Digest}}'
ARG PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_REQUIRE_VIRTUALENV=1
RUN python -m venv /opt/build
COPY containers/build.lock /src/containers/build.lock
RUN /opt/build/bin/pip install --require-hashes -r /src/containers/build.lock
WORKDIR /src
COPY pyproject.toml settings.ini LICENSE NOTICE README.md ./
COPY nbs/app nbs/app
COPY rumos_bank rumos_bank
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . && python -m venv /opt/rumos
COPY containers/install.sh /src/containers/install.sh

FROM build AS build-service
COPY containers/service.lock /src/containers/service.lock
RUN sh /src/containers/install.sh service

FROM build AS build-dashboard
COPY containers/dashboard.lock /src/containers/dashboard.lock
RUN sh /src/containers/install.sh dashboard

FROM build AS build-mlflow
COPY containers/mlflow.lock /src/containers/mlflow.lock
RUN sh /src/containers/install.sh mlflow

FROM build AS build-runner
COPY containers/runner.lock /src/containers/runner.lock
RUN sh /src/containers/install.sh runner

# What all images share. The folders are where volumes are mounted; they take over the mode, so any user may own a file.
FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rumos_bank" \
      org.opencontainers.image.description="A credit-default model from notebook to production" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN install --directory --mode=1777 /store /reports /ledger /ledger-public /cache
ENV PATH=/opt/rumos/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKDIR /app
COPY settings.ini requirements.lock ./
# There is no git in an image: the commit of a pipeline run made here is read from this file.
RUN echo "${REVISION}" > REVISION
USER 1000:1000

FROM base AS service
COPY --from=build-service /opt/rumos /opt/rumos
EXPOSE 5001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5001/health/live', timeout=4)"]
CMD ["rumos", "serve", "api"]

FROM base AS dashboard
COPY --from=build-dashboard /opt/rumos /opt/rumos
COPY nbs/app nbs/app
EXPOSE 5002
# A connection only: a request would start a kernel.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 5002), 4)"]
CMD ["rumos", "serve", "dashboard"]

FROM base AS mlflow
COPY --from=build-mlflow /opt/rumos /opt/rumos
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=6 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["rumos", "serve", "mlflow"]

FROM base AS runner
COPY --from=build-runner /opt/rumos /opt/rumos
COPY nbs/experiments nbs/experiments
# It ends by itself; while it works it is well.
HEALTHCHECK NONE
CMD ["rumos", "run", "--once"]
