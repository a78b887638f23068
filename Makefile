# Everything a developer runs. `make demo` and `make test` do all set-up themselves; see `make help`.
#
#   PYTHON                 the interpreter to make .venv with (3.11 or later)
#   LOOKALIKE_TORCH_INDEX  where pip finds CPU-only PyTorch wheels; unset: the default build, with CUDA libraries
#   ARGS                   passed on to `lookalike demo`, to the benchmark and to pytest
#   FUZZ_SECONDS           how long `make fuzz` looks for inputs that break each of its targets; 120
#   CUTS                   how often `make faults` cuts the power of each service; 50
#   SOAK_MINUTES           how long `make soak` keeps an installation under load; 30

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=
FUZZ_SECONDS ?= 120
CUTS ?= 50
SOAK_MINUTES ?= 30
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := serve-embedder,tracing,synth,train,lite1,lite2,dev
STAMPS := build/stamps
DEFAULT_BUNDLE := build/bundles/efficientnet-lite0
RUST_SOURCES := $(shell find native -name '*.rs' -not -path '*/target/*') $(wildcard native/Cargo.* native/*/Cargo.toml)
PROTOS := $(wildcard protos/lookalike/v1/*.proto)
# Its build is apart from that of what is installed.
PROTOGEN = cargo run --quiet --release --manifest-path native/protogen/Cargo.toml --target-dir native/target/protogen --
GOOGLEAPIS = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip looks for the build backend, maturin, on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

## --- set-up ------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/native $(DEFAULT_BUNDLE)/bundle.json ## Create .venv, install, build the extension, export the default model

$(STAMPS)/python: pyproject.toml constraints.txt | native/Cargo.lock
	@cargo --version >/dev/null 2>&1 || { echo "error: no Rust toolchain that works found (cargo); install Rust 1.89 or later" >&2; exit 1; }
	@cc --version >/dev/null 2>&1 || { echo "error: no C compiler that works found (cc)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; set PYTHON" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages into $(VENV) (PyTorch is several GB; a few minutes the first time) ..."
	$(BIN)/pip install --quiet -c constraints.txt maturin
	$(if $(LOOKALIKE_TORCH_INDEX),$(BIN)/pip install --quiet -c constraints.txt --index-url "$(LOOKALIKE_TORCH_INDEX)" torch torchvision)
	$(BIN)/pip install --quiet --no-build-isolation -c constraints.txt -e '.[$(EXTRAS)]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/native: $(STAMPS)/python $(RUST_SOURCES)
	@echo "Building the native extension ..."
	$(BIN)/maturin develop --quiet --release --skip-install
	@mkdir -p $(STAMPS) && touch $@

$(DEFAULT_BUNDLE)/bundle.json: $(STAMPS)/native
	@echo "Exporting the default model (EfficientNet-Lite0, ImageNet weights) ..."
	$(BIN)/python -m embedder.export default --out $(DEFAULT_BUNDLE)
	@touch $@

## --- use ---------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Simulate a catalogue, train, serve, search, report (ARGS=--once: then exit)
	$(BIN)/lookalike demo $(ARGS)

$(STAMPS)/bench: $(STAMPS)/python
	@echo "Installing what benchmarks compare with ..."
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' > $(STAMPS)/bench.txt
	$(BIN)/pip install --quiet -c constraints.txt -r $(STAMPS)/bench.txt
	@touch $@

.PHONY: load-generator
load-generator: ## Build the load generator of the benchmark of the served system
	cargo build --quiet --release --locked --manifest-path native/Cargo.toml -p lookalike-load --features postgres

.PHONY: triton-install
triton-install: $(STAMPS)/python ## Install a real Triton (Python backend) into build/triton, an environment of its own
	@PYTHON=$(CURDIR)/$(BIN)/python deploy/triton/serve.sh install

.PHONY: triton
triton: setup triton-install ## Export the default model to build/triton-models and serve it with Triton on 127.0.0.1:8001
	$(BIN)/lookalike export --bundle $(DEFAULT_BUNDLE) --triton build/triton-models --backend python
	@echo "In another terminal: $(BIN)/lookalike serve embedder --bundle $(DEFAULT_BUNDLE) --backend triton"
	@deploy/triton/serve.sh build/triton-models --load-model=lookalike $(ARGS)

.PHONY: images-install
images-install: ## Install what builds and runs images without Docker (Debian and its like, as root)
	@which buildah debootstrap runc >/dev/null || { apt-get update -qq && \
		apt-get install -qq -y --no-install-recommends buildah debootstrap runc; }

.PHONY: images
images: $(STAMPS)/python ## Build the images of gateway, hasher and embedder, and print their sizes (as root)
	@PYTHON=$(BIN)/python deploy/docker/build.sh wheels
	@PYTHON=$(BIN)/python deploy/docker/build.sh images

.PHONY: images-test
images-test: setup ## Start the images that `make images` built, and search by photo through them (as root)
	LOOKALIKE_IMAGES_TEST=1 $(BIN)/python -m pytest tests/deploy/test_images.py $(ARGS)

.PHONY: bench-embedder
bench-embedder: setup triton-install ## Measure decoding, preprocessing and every inference backend (ARGS=--help shows the options)
	$(BIN)/python -m benchmarks.embedder --bundle $(DEFAULT_BUNDLE) $(ARGS)

.PHONY: bench-models
bench-models: setup ## Train and measure losses and baselines side by side (ARGS="--photos PHOTOS ..."; --help shows the options)
	$(BIN)/python -m benchmarks.models $(ARGS)

.PHONY: bench-engine
bench-engine: setup $(STAMPS)/bench ## Measure the hash index against other libraries (ARGS=--help shows the options)
	$(BIN)/python -m benchmarks.engine $(ARGS)

.PHONY: bench-service
bench-service: setup $(STAMPS)/bench load-generator ## Measure the served system and other vector servers from outside (ARGS=--help shows the options)
	@deploy/tools/build.sh weaviate || echo "warning: Weaviate cannot be built here; it is left out" >&2
	$(BIN)/python -m benchmarks.service $(ARGS)

## --- checks ------------------------------------------------------------------------------------

RUST_TESTS = cargo test --quiet --release --manifest-path native/Cargo.toml -p lookalike-core -p lookalike-image \
	-p lookalike-serve -p lookalike-textbook -p lookalike-writes

.PHONY: rust-tests
rust-tests: ## Compile the Rust tests
	$(RUST_TESTS) --no-run

.PHONY: test
test: setup ## Run every test, Rust and Python (ARGS go to pytest)
	@$(MAKE) --no-print-directory triton-install || echo "warning: Triton cannot be installed here; its tests are skipped" >&2
	$(RUST_TESTS)
	cargo test --quiet --manifest-path native/Cargo.toml -p lookalike-load
	$(BIN)/python -m pytest $(ARGS)

.PHONY: kube-tools
kube-tools: $(STAMPS)/python ## Build Kubernetes, helm and what checks the chart into build/tools (needs Go; 8 minutes of CPU, once)
	@PYTHON=$(CURDIR)/$(BIN)/python deploy/tools/build.sh

.PHONY: kube-install
kube-install: kube-tools images-install ## Install what a node runs containers with, and h2load, which calls it (Debian and its like, as root)
	@PYTHON=$(CURDIR)/$(BIN)/python deploy/tools/build.sh pause coredns
	@{ command -v containerd && command -v runc && command -v nft && command -v h2load && command -v /usr/lib/cni/bridge; } \
		>/dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends \
			containerd containernetworking-plugins nftables nghttp2-client runc; }

.PHONY: kube
kube: setup kube-install triton-install ## Install the chart on a real node, and count what fails while things are done to it (as root)
	@PYTHON=$(BIN)/python deploy/docker/build.sh update
	$(BIN)/python -m tests.kube $(ARGS)

.PHONY: fuse-install
fuse-install: ## Install libfuse, for tests that cut the power (Debian and its like, as root)
	@ldconfig -p | grep -q 'libfuse3\.so' || { apt-get update -qq && apt-get install -qq -y --no-install-recommends libfuse3-3; }

.PHONY: observe
observe: setup prometheus-install ## Serve under load, watched by Prometheus, and print the addresses, until Ctrl-C (ARGS="--scale 2")
	@$(MAKE) --no-print-directory triton-install || echo "warning: Triton cannot be installed here; photos are encoded without it" >&2
	$(BIN)/python -m deploy.local.observe --bundle $(DEFAULT_BUNDLE) $(ARGS)

# Unpacked, and not installed: the package would start a server.
.PHONY: prometheus-install
prometheus-install: ## Get prometheus and promtool into build/prometheus where the machine has none (Debian and its like, as root)
	@{ command -v prometheus && command -v promtool; } >/dev/null || test -x build/prometheus/usr/bin/promtool || { \
		mkdir -p build/prometheus && cd build/prometheus && apt-get update -qq && \
		apt-get download -qq prometheus && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; }

.PHONY: alerts
alerts: setup prometheus-install triton-install ## Load for ten minutes, then make each alert fire by a fault and resolve (20 minutes; ARGS="--only ALERT")
	$(BIN)/python -m tests.deploy.alerts $(ARGS)

.PHONY: traces
traces: setup triton-install ## Build Jaeger (needs Go; 6 to 8 minutes of CPU, once), serve for a while, and look at the traces there
	@deploy/tools/build.sh jaeger
	LOOKALIKE_TRACES_TEST=1 $(BIN)/python -m pytest tests/integration/test_jaeger.py $(ARGS)

.PHONY: faults
faults: setup ## Kill hashers and gateways, cut their power CUTS times, look for lost writes (ARGS="--seed N --service S")
	$(BIN)/python -m tests.faults --cuts $(CUTS) $(ARGS)

.PHONY: soak
soak: setup load-generator ## Search, write, cancel and kill a shard for SOAK_MINUTES; fails where searches do, or something grows (ARGS=--help)
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES) $(ARGS)

# Sanitizers are not yet stable options; RUSTC_BOOTSTRAP=1 makes a stable compiler take them. The short quarantine
# of freed memory keeps within what the churn test allows. Link-time optimisation would take minutes for each test file.
.PHONY: sanitize
sanitize: ## Run the tests of the engine and of the search path with AddressSanitizer
	ASAN_OPTIONS=quarantine_size_mb=8:thread_local_quarantine_size_kb=64 RUSTC_BOOTSTRAP=1 \
		CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		RUSTFLAGS=-Zsanitizer=address cargo test --quiet --release --manifest-path native/Cargo.toml \
		-p lookalike-core -p lookalike-image -p lookalike-serve -p lookalike-textbook -p lookalike-writes --lib --tests --target-dir native/target/sanitize \
		--target "$$(rustc -vV | sed -n 's/^host: //p')"

.PHONY: fuzz
fuzz: ## Fuzz the reader of stored indexes, then searches, for FUZZ_SECONDS each (needs cargo-fuzz)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "error: no cargo-fuzz found; run cargo install cargo-fuzz" >&2; exit 1; }
	cargo run --quiet --release --manifest-path native/fuzz/Cargo.toml --bin seeds
	for target in open search; do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir native/fuzz "$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=60 -malloc_limit_mb=256; \
	done

.PHONY: lint
lint: setup ## Run every static check, Python, Rust, protobuf, images and shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.unasync --check
	$(BIN)/python -m scripts.generated_docs --check
	$(BIN)/python -m scripts.chart --check
	$(BIN)/python -m deploy.grafana --check
	$(BIN)/python -m mypy.stubtest lookalike._native
	$(BIN)/hadolint deploy/docker/*.Dockerfile tests/kube/*.Dockerfile
	$(BIN)/shellcheck $$(git ls-files '*.sh') .ci/run
	cargo fmt --manifest-path native/Cargo.toml --all --check
	cargo clippy --quiet --release --manifest-path native/Cargo.toml --workspace --all-targets --features lookalike-load/postgres -- -D warnings
	@$(MAKE) --no-print-directory lint-protos

# buf cannot fetch google/rpc/status.proto without a network, so it lints what protoc has compiled.
.PHONY: lint-protos
lint-protos: setup build/lookalike.binpb
	$(BIN)/buf lint build/lookalike.binpb --path lookalike/v1
	$(BIN)/buf breaking build/lookalike.binpb --against protos/landed.binpb --path lookalike/v1
	$(BIN)/buf format --diff --exit-code protos
	$(PROTOGEN) build/lookalike.binpb build
	@cmp build/v1.rs native/serve/src/v1.rs || { echo "error: run \`make proto\` and commit the result" >&2; exit 1; }

build/lookalike.binpb: $(PROTOS) | setup
	@mkdir -p build
	$(BIN)/python -m grpc_tools.protoc -I protos -I $(GOOGLEAPIS) --include_imports --include_source_info \
		--descriptor_set_out=$@ $(PROTOS)

.PHONY: format
format: setup ## Format Python, Rust and protobuf sources
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .
	cargo fmt --manifest-path native/Cargo.toml --all
	$(BIN)/buf format --write protos

.PHONY: proto
proto: setup build/lookalike.binpb ## Regenerate lookalike/v1 and the messages of native/serve from protos/
	$(BIN)/python -m grpc_tools.protoc -I protos -I $(GOOGLEAPIS) --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)
	$(PROTOGEN) build/lookalike.binpb native/serve/src

# `make lint` compares the protos with this image: nothing in it may change meaning or go. Until others build on v1, a
# wrong contract is put right by a commit that writes the image again.
.PHONY: proto-landed
proto-landed: setup ## Keep the protos as those that later ones must be compatible with
	$(BIN)/python -m grpc_tools.protoc -I protos -I $(GOOGLEAPIS) --include_imports \
		--descriptor_set_out=protos/landed.binpb $(PROTOS)

.PHONY: docs
docs: $(STAMPS)/python ## Build the documentation's site into build/site; a broken link or a page outside the menu fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.PHONY: pictures
pictures: setup prometheus-install triton-install ## Draw the dashboards into build/dashboards with Grafana's own components (needs npm and Chromium; ARGS=--slow-shard)
	npm --prefix deploy/grafana/page ci --legacy-peer-deps --no-audit --no-fund
	npm --prefix deploy/grafana/page run build
	$(BIN)/python -m tests.deploy.pictures $(ARGS)

.PHONY: dashboards
dashboards: setup ## Write the Grafana dashboards from deploy/grafana
	$(BIN)/python -m deploy.grafana

# The chart has copies of the dashboards.
.PHONY: docs-generated
docs-generated: setup dashboards ## Write the pages of settings, metrics and the API, and what the Helm chart has from elsewhere
	$(BIN)/python -m scripts.generated_docs
	$(BIN)/python -m scripts.chart

.PHONY: client
client: setup ## Write the synchronous client from the one for asyncio
	$(BIN)/python -m scripts.unasync

.PHONY: clean
clean: ## Delete what was built, but not .venv
	rm -rf build native/target lookalike/_native*.so
