#!/bin/sh
# Installs one service into /opt/lookalike from the wheels in /wheels, without a network, and writes the list of its
# parts; runs in the build stage of each image:
#
#   install.sh SERVICE [EXTRAS]
set -eu
service=$1
extras=${2:-}
home=/opt/lookalike
tools=/tmp/tools

# pip runs from its own wheel, so that neither it nor Debian's packages for it get into the image.
wheel=$(echo /wheels/pip-[0-9]*.whl)
pip() {
    python3 "$wheel/pip" --python "$1" install --quiet --no-index --find-links /wheels --no-compile \
        --no-cache-dir --disable-pip-version-check --root-user-action ignore "$2"
}
python3 -m venv --without-pip "$home"
pip "$home" "lookalike${extras:+[$extras]}"
python3 -m venv --without-pip "$tools"
pip "$tools" 'cyclonedx-bom'

"$tools/bin/cyclonedx-py" environment --output-reproducible --output-format JSON --output-file /tmp/python.json \
    "$home/bin/python"
"$tools/bin/python" /docker/sbom.py "$service" /tmp/python.json "$home" >"$home/sbom.cdx.json"

# What no service runs: shells' activation, tests, type stubs and headers of libraries, debugging symbols, and of
# OpenVINO what is for other processors than CPUs and for other files than ONNX.
site=$(echo "$home"/lib/python3*/site-packages)
rm -f "$home"/bin/[Aa]ctivate*
find "$site" -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.lib' \) -delete
rm -f "$site"/openvino/libs/cache.json "$site"/openvino/libs/libopenvino_intel_[gn]pu_plugin.so \
    "$site"/openvino/libs/libopenvino_tensorflow* "$site"/openvino/libs/libopenvino_p[ay]*_frontend* \
    "$site"/openvino/libs/libopenvino_jax* "$site"/openvino/libs/libopenvino_gguf*
# Libraries that auditwheel has moved into *.libs do not survive strip; extensions do.
find "$site" -type f -name '*.so' ! -path '*.libs/*' ! -path '*/libs/*' -exec strip --strip-debug {} +
"$home/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$home/lib"
# Becomes the folder of a service's data, with the service's user as its owner.
mkdir /tmp/data
