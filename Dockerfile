# Assay in a container: docs/run-in-a-container.md has how to run it, and what was tried.
#
#   docker build -t assay .                                CPUs
#   docker build -t assay:cuda --build-arg DEVICE=cuda .   NVIDIA GPUs; the host has the driver and its container toolkit
#
# Python is that of cluster.yaml and the libraries are those of constraints.txt, so figures are those of other machines.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
ARG EXTRAS=cluster,demo
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY constraints.txt ./
# First what is largest and changes least. PyPI has torch for CUDA; the build for CPUs is a tenth of its size.
RUN python -m venv /opt/venv \
 && case "$DEVICE" in \
      cpu) /opt/venv/bin/pip install torch --no-deps --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) /opt/venv/bin/pip install torch ;; \
      *) echo "DEVICE is cpu or cuda, not '$DEVICE'" >&2; exit 2 ;; \
    esac
COPY pyproject.toml README.md LICENSE ./
COPY search_spaces search_spaces
COPY trainables trainables
COPY platform platform
RUN /opt/venv/bin/pip install ".[$EXTRAS]" \
 && /opt/venv/bin/pip uninstall --yes assay \
 && /opt/venv/bin/pip wheel --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# KubeRay asks Ray with wget whether it is well. Versions of Debian's packages cannot be pinned: old ones are taken away.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home assay
COPY --from=build /opt/venv /opt/venv
# A layer of its own: new code is a few MB to send, not all of its libraries.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
# What is written beside the store goes to /tmp, so that the root may be read-only and the user any other.
ENV PATH=/opt/venv/bin:$PATH \
    USER=assay \
    ASSAY_CACHE=/tmp/assay-cache \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /assay
USER 1000:1000
ENTRYPOINT ["assay"]
CMD ["--help"]
