# Triton for `make kube`, out of the environment that `make triton-install` makes: that is the context. Laid out as NVIDIA's
# image is, with the Python backend alone.
ARG VERSION
FROM localhost/lookalike-python:${VERSION}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libpython3.11 && rm -rf /var/lib/apt/lists/*
COPY bin /opt/tritonserver/bin
COPY backends /opt/tritonserver/backends
# The backend's own Python knows no PYTHONPATH.
COPY venv/lib/python3.11/site-packages /usr/local/lib/python3.11/dist-packages
ENV PATH=/opt/tritonserver/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/lib/python3.11/dist-packages/nvidia_pytriton.libs \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["tritonserver"]
