# The commands people type are the ones CI runs.

PYTHON ?= python3
# Where torch comes from. The default is PyTorch's own index of CPU builds (200 MB instead of several GB); for a GPU
# choose another one, for example `make setup TORCH_INDEX=https://download.pytorch.org/whl/cu130`.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CONFIG ?= config/quickstart.toml

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# Quiet, unless something goes wrong.
LOGGED := > .venv/setup.log 2>&1 || { cat .venv/setup.log; exit 1; }

.PHONY: setup serve doctor test test-slow test-clients lint audit bench proto clean

setup: .venv/ready

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Pinyon needs Python 3.11 or newer; name one with: make setup PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv (the first time this takes a minute or two and about 1.5 GB of disk) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "  torch"
	@$(PIP) install --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) torch==2.13.0 $(LOGGED)
	@echo "  everything else"
	@$(PIP) install -e '.[dev]' $(LOGGED)
	@touch $@
	@echo "Set up."

serve: setup
	@exec $(BIN)/pinyon serve --config $(CONFIG)

doctor: setup
	@$(BIN)/pinyon doctor --config $(CONFIG)

# Known vulnerabilities of what is installed, as PyPI tells of them; what it does not tell of is listed as not audited.
audit: setup
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		.venv-audit/bin/python -m pip --disable-pip-version-check -q install pip-audit $(LOGGED); }
	.venv-audit/bin/pip-audit --progress-spinner off --path .venv/lib/python3*/site-packages

test: setup
	$(BIN)/pytest -m "not slow and not clients"

test-slow: setup
	$(BIN)/pytest -m slow

test-clients: setup
	$(BIN)/pytest -m clients

bench: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

proto: setup
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. app/api/grpc/vector_service.proto app/api/grpc/requests.proto

clean:
	rm -rf .venv .venv-clients .venv-bench build *.egg-info
