#!/usr/bin/env bash
# Builds the tools of the deployment's tests from Go modules, and links them in build/tools:
#
#   deploy/tools/build.sh [SET ...]     the folders of this one, all of them by default
#
#   LOOKALIKE_TOOLS   where what was built is kept; default ~/.cache/lookalike/tools
#   PYTHON            a Python with PyYAML
#
# A set is built again only where its files or the version of Go have changed. A build that was interrupted goes
# on where it stopped.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
links=$here/../../build/tools
cache=${LOOKALIKE_TOOLS:-$HOME/.cache/lookalike/tools}

command -v go >/dev/null || { echo "error: no Go found (go); install Go 1.26 or later" >&2; exit 1; }

# The version that the set's go.mod leads to, which may not be that of the go on the PATH.
key() {
    { cat "$here/$1"/*; cd "$here/$1" && go env GOVERSION GOOS GOARCH; } | sha256sum | cut -c 1-16
}

# Links are replaced in one step: another build may be under way in the same working tree.
link() {
    mkdir -p "$links"
    ln -sfnT "$1" "$links/.$$" && mv -fT "$links/.$$" "$links/$(basename "$1")"
}

# Builds the programs of a set into a folder. Their compiled packages are several GB, and go once all are built.
build_programs() {
    local home=$1 name package flags
    export GOCACHE=$home/.work
    while read -r name package flags; do
        if [ ! -x "$home/$name" ]; then
            echo "Building $name ..." >&2
            (cd "$here/$set" && GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath -buildvcs=false \
                -ldflags "-s -w $flags" -o "$home/.$name" "$package")
            mv "$home/.$name" "$home/$name"
        fi
        link "$home/$name"
    done < <(grep -v '^#' "$here/$set/programs")
    chmod -R u+w "$home/.work" 2>/dev/null || true
    rm -rf "$home/.work"
}

[ $# -gt 0 ] || set -- checks manifests otelcol kube
for set in "$@"; do
    home=$cache/$set-$(key "$set")
    mkdir -p "$home"
    (
        flock 9
        if [ -f "$here/$set/programs" ]; then
            [ "$set" != kube ] || [ -x "$home/kwok" ] ||
                echo "Building a Kubernetes cluster's programs into $home, once: 8 minutes of CPU, 4 GB on disk meanwhile ..." >&2
            build_programs "$home"
        else
            "${PYTHON:-python3}" "$here/$set/make.py" "$home"
            for made in "$home"/*; do link "$made"; done
        fi
    ) 9>"$cache/$set.lock"
done
