# The doctor in an image, which examines the machine that it runs on: driver, GPUs, container.
# `--build-arg EXTRAS=[torch]` adds a torch (several GB), which `check` then examines too.
FROM python:3.12.11-slim-bookworm AS build
ARG EXTRAS=""
WORKDIR /src
COPY pyproject.toml README.md ./
COPY envdoctor envdoctor
COPY checks checks
RUN python3 -m venv /opt/envdoctor \
    && /opt/envdoctor/bin/pip install --no-cache-dir ".${EXTRAS}"

FROM python:3.12.11-slim-bookworm
COPY --from=build /opt/envdoctor /opt/envdoctor
RUN useradd --create-home --uid 10001 doctor
USER 10001
WORKDIR /home/doctor
ENV PATH=/opt/envdoctor/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["envdoctor"]
CMD ["check", "--scope", "node"]
