# Packages as a service on processors: `abbe serve --api`. How to run it: docs/deploy.md.
#
#   docker build -t abbe .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp -e ABBE_TOKEN abbe
#
# Built with a network, run without one: nothing is fetched after this.
ARG PYTHON=3.12-slim

FROM python:${PYTHON} AS build
ARG PREFIX=/opt/abbe
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python3 -m venv ${PREFIX} \
    && ${PREFIX}/bin/python -m pip install --no-cache-dir --disable-pip-version-check '.[service,dicom]' \
    && ${PREFIX}/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}
ARG PREFIX=/opt/abbe
LABEL org.opencontainers.image.title="Abbe" \
      org.opencontainers.image.description="Small segmentation models as a service" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build ${PREFIX} ${PREFIX}
# Temporary files and compiled networks go to /tmp, so that everything else may be read-only.
ENV PATH=${PREFIX}/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache
WORKDIR /packages
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
ENTRYPOINT ["abbe"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--api", "nuclei"]
