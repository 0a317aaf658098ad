# One image for every process; docker-compose.yml names the command of each.

FROM python:3.11-slim-bookworm AS build
COPY requirements.lock /build/
# Wheels alone: nothing is compiled here, so nothing that compiles is needed.
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
      -r /build/requirements.lock
COPY pyproject.toml LICENSE /latchkey/
COPY models /latchkey/models
COPY platforms /latchkey/platforms
COPY workers /latchkey/workers
COPY api /latchkey/api
COPY launch /latchkey/launch
# The running container writes nothing, so what Python would write on first use is made now.
RUN /venv/bin/python -m compileall -q /latchkey && /venv/bin/pip uninstall --quiet --yes pip setuptools

FROM python:3.11-slim-bookworm
COPY --from=build /venv /venv
COPY --from=build /latchkey /latchkey
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MODE=production \
    HOST=0.0.0.0
WORKDIR /latchkey
# A number, so that whoever runs it can check that it is not root. No shell, no home, nothing it owns.
USER 10001:10001
EXPOSE 8080
CMD ["python", "-m", "api"]
