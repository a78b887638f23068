#!/usr/bin/env bash
# Builds the images with buildah, without a daemon, and prints their sizes:
#
#   deploy/docker/build.sh wheels       this package's wheel and every other that the images need, into build/images/wheels
#   deploy/docker/build.sh images       the base image where it is missing, then gateway, hasher and embedder
#   deploy/docker/build.sh update       both, unless what the images are made of has stayed as it was
#   deploy/docker/build.sh models BUNDLE [TAG]   an image with a model bundle in /models, for the chart; tag 1
#   deploy/docker/build.sh buildah ...  buildah on the storage of these images, such as `images`, `push` or `rmi`
#
#   PYTHON                the interpreter of the environment that `make setup` makes
#   LOOKALIKE_IMAGES      where images are kept; default build/images/storage
#
# With Docker: `build.sh wheels`, then `docker build -f deploy/docker/gateway.Dockerfile --build-arg VERSION=... .`
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
python=${PYTHON:-.venv/bin/python}
storage=${LOOKALIKE_IMAGES:-$root/build/images/storage}
wheels=build/images/wheels
built=build/images/sources
base=docker.io/library/debian:12-slim
services=(gateway hasher embedder)

fail() {
    echo "error: $*" >&2
    exit 1
}

buildah() {
    command buildah --storage-driver=vfs --root "$storage" --runroot "$storage/run" "$@"
}

command -v "$python" >/dev/null || fail "$python is missing; run make setup, or name another in PYTHON"
version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

# What the images are made of, as one hash.
sources() {
    find gateway hasher embedder lookalike native deploy/docker pyproject.toml constraints.txt README.md LICENSE \
        -type f ! -path '*/target/*' ! -name '*.pyc' ! -name '*.so' -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

# The images have Debian 12's Python, 3.11, and glibc, 2.36, whatever builds them.
wheels() {
    echo "Building and fetching wheels ..." >&2
    local machine platforms=() minor
    machine=$(uname -m)
    rm -rf "$wheels" "$wheels.sources"
    mkdir -p "$wheels"
    sources >"$wheels.sources.part"
    "${python%/*}/maturin" build --quiet --release --out "$wheels" --interpreter "$python" --compatibility manylinux_2_36
    for minor in {36..5}; do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
    for name in 2014 2010 1; do platforms+=(--platform "manylinux${name}_$machine"); done
    local wheel
    wheel=$(echo "$wheels"/lookalike-*.whl)
    "$python" -m pip download --quiet --dest "$wheels" --only-binary :all: --python-version 3.11 --implementation cp \
        "${platforms[@]}" -c constraints.txt -c deploy/docker/tools.txt "${wheel}[serve-embedder,tracing]" pip cyclonedx-bom
    mv "$wheels.sources.part" "$wheels.sources"
}

# Pulled where a registry answers; else made by debootstrap under the same name.
ensure_base() {
    [ -n "$(buildah images --quiet --filter "reference=$base")" ] && return
    buildah pull --quiet "$base" >/dev/null 2>&1 && return
    command -v debootstrap >/dev/null || fail "no registry has $base, and debootstrap is missing; run make images-install"
    echo "No registry has $base: making it with debootstrap ..." >&2
    scratch=$(mktemp -d build/images/base.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    deploy/docker/base.sh "$scratch/root"
    local container
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$scratch/root" / >/dev/null
    buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$base" >/dev/null
}

# build IMAGE [OPTIONS of buildah build]. Files get the time of the commit, so that the same sources give the same image.
build() {
    local image=$1 commit when
    shift
    commit=$(git rev-parse --quiet --verify HEAD || echo unknown)
    when=$(git log -1 --format=%ct 2>/dev/null || echo 0)
    echo "Building $image ..." >&2
    buildah build --isolation chroot --pull-never --timestamp "${SOURCE_DATE_EPOCH:-$when}" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$commit" --tag "localhost/$image:$version" \
        "$@" . >"build/images/$image.log" 2>&1 || {
        tail -n 20 "build/images/$image.log" >&2
        fail "$image was not built; see build/images/$image.log"
    }
}

images() {
    command -v buildah >/dev/null || fail "buildah is missing; run make images-install"
    [ -f "$wheels.sources" ] || fail "there are no wheels; run $0 wheels"
    ensure_base
    rm -f "$built"
    # All three start with the same stage. Without --layers buildah would build it for each of them; with it, every step
    # costs a copy of the whole image where the storage driver is vfs.
    build lookalike-python --file deploy/docker/gateway.Dockerfile --target python
    for service in "${services[@]}"; do
        build "lookalike-$service" --file "deploy/docker/$service.Dockerfile" \
            --build-context "python=container-image://localhost/lookalike-python:$version"
        export_image "lookalike-$service"
    done
    buildah rmi --prune >/dev/null
    cp "$wheels.sources" "$built"
    sizes
}

update() {
    [ "$(sources)" = "$(cat "$built" 2>/dev/null)" ] && return
    wheels
    images
}

# On the stage that all images share, for its `cp`.
models() {
    local bundle=${1:?usage: build.sh models BUNDLE [TAG]} image=localhost/lookalike-models:${2:-1} container
    [ -f "$bundle/bundle.json" ] || fail "$bundle is no model bundle: it has no bundle.json"
    container=$(buildah from --pull-never "localhost/lookalike-python:$version") || fail "there are no images; run make images"
    buildah copy --quiet --chown 0:0 "$container" "$bundle" /models/bundle >/dev/null
    buildah commit --quiet --rm "$container" "$image" >/dev/null
    archive "$image"
}

# For `docker load`, `ctr images import` and the like: archive localhost/NAME:TAG
archive() {
    local name=${1#localhost/}
    local file=build/images/${name%:*}.tar
    rm -f "$file"
    buildah push --quiet "$1" "docker-archive:$file:$1"
}

# The archive, and the list of parts by itself.
export_image() {
    local name=$1 container
    archive "localhost/$name:$version"
    container=$(buildah from --pull-never "localhost/$name:$version")
    cp "$(buildah mount "$container")/opt/lookalike/sbom.cdx.json" "build/images/$name.cdx.json"
    buildah rm "$container" >/dev/null
}

# Unpacked; what is pulled is about a third of it.
sizes() {
    local bytes
    for service in "${services[@]}"; do
        bytes=$(stat --format %s "build/images/lookalike-$service.tar")
        printf '%-20s %s  %4d MB\n' "lookalike-$service" "$version" "$(((bytes + 500000) / 1000000))"
    done
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
wheels | images | update | sizes) "$command" ;;
models) models "$@" ;;
buildah) buildah "$@" ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
