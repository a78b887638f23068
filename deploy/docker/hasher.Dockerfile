# The hasher, without any inference library. Built by `make images`; docs/images.md says how, and how to run it.

# Word for word the same in all three files, so that the layers are built, stored and pulled once.
FROM docker.io/library/debian:12-slim AS python
# Debian's security updates are wanted, so no version is pinned. Byte code by hash stays valid whatever time stamps the
# files of a layer get.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old \
    && groupadd --gid 65532 lookalike \
    && useradd --uid 65532 --gid 65532 --key UID_MAX=65532 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin lookalike \
    && rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11 /usr/lib/python3

FROM python AS build
# What dpkg lists before this stage's own tools are the packages of the image.
# hadolint ignore=DL3008
RUN dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\n' >/debian.txt \
    && apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,source=build/images/wheels,target=/wheels \
    --mount=type=bind,source=deploy/docker,target=/docker \
    /docker/install.sh hasher tracing

FROM python
COPY --from=build /opt/lookalike /opt/lookalike
COPY --from=build --chown=65532:65532 /tmp/data /data
ENV PATH=/opt/lookalike/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    LOOKALIKE_HASHER_HOST=0.0.0.0 \
    LOOKALIKE_HASHER_PORT=7710 \
    LOOKALIKE_HASHER_DATA_FOLDER=/data
USER 65532:65532
EXPOSE 7710 7810 9710
ENTRYPOINT ["python", "-m", "hasher"]
ARG VERSION REVISION=unknown
LABEL org.opencontainers.image.title="lookalike-hasher" \
      org.opencontainers.image.description="Lookalike's hasher: one shard of the index" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:12-slim"
