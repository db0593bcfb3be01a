# Everything a developer or CI types; `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check
PYTEST_FLAGS ?= -n auto --dist loadfile
CHAOS_RUNS ?= 300
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test check audit advisories bench chaos fuzz mutants faults soak stack chart cluster-test format lock wheel release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## run the exporter against the embedded simulator; DEMO_FLAGS are passed on
	$(BIN)/python -m exporter serve --demo $(DEMO_FLAGS)

test: $(VENV)/.installed-dev ## install everything the tests need, then run them
	sh .ci/tools/prepare
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(VENV)/.installed-dev audit ## formatting, lint, types, weaknesses, and the tests with branch coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	sh .ci/tools/prepare
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_FLAGS)

audit: $(VENV)/.installed-dev ## look for weaknesses: in the code (bandit), in the workflows (zizmor)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive exporter
	$(BIN)/zizmor --quiet --offline --persona=auditor --strict-collection .

advisories: $(VENV)/.installed-dev ## ask PyPI and GitHub what is known against our dependencies and actions; needs a network
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements-dev.lock
	$(BIN)/zizmor --quiet --persona=auditor --strict-collection .

bench: $(VENV)/.installed-dev ## measure against what a user could pick instead (some minutes)
	$(BIN)/python tests/bench $(BENCH_FLAGS)

chaos: $(VENV)/.installed-dev ## world, API, process and clock in any order, at length; CHAOS_RUNS=300
	CHAOS=$(CHAOS_RUNS) $(BIN)/python -m pytest -p no:cacheprovider tests/test_chaos.py

fuzz: $(VENV)/.installed-fuzz ## fuzz with atheris (CPython 3.11 to 3.13); FUZZ_SECONDS=60 a target
	$(BIN)/python tests/fuzz $(FUZZ_SECONDS)

mutants: $(VENV)/.installed-mutants ## mutate a copy of paging, durations, limits, retries, exposition and negotiation (some minutes)
	$(BIN)/python tests/mutants $(MUTANTS)

faults: $(VENV)/.installed-dev ## every fault at every endpoint, ending in a table (some minutes)
	$(BIN)/python -m pytest -q tests/test_faults_resources.py
	$(BIN)/python tests/faults $(FAULTS_FLAGS)

soak: $(VENV)/.installed-dev ## days of polling with churn and faults, ending in a table (a quarter of an hour)
	$(BIN)/python tests/faults/soak.py $(SOAK_FLAGS)

stack: $(VENV)/.installed-dev ## exporter in demo, Prometheus with our rules, Alertmanager, as processes
	$(BIN)/python tests/stack.py

chart: $(VENV)/.installed-dev ## write the chart's schema and README
	$(BIN)/python tests/chart/generate.py

cluster-test: $(VENV)/.installed-dev ## install every scenario of the chart into a real API server (builds one: ten minutes)
	$(BIN)/python -m pytest tests/cluster/installed.py

format: $(VENV)/.installed-dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.installed-dev ## renew the hash-locked dependencies
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --upgrade -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  -c requirements.lock --group dev -o requirements-dev.lock pyproject.toml
	for tool in fuzz mutants; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    -c requirements-dev.lock -o tests/$$tool/requirements.lock tests/$$tool/requirements.in || exit 1; \
	done

wheel: $(VENV)/.installed-dev ## build the wheel into dist/, the same bytes each time
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1767225600) \
	  $(BIN)/python -m hatchling build -t wheel --clean

# The SBOM is of what an installation really holds: licences and who needs whom stand in no lock file.
SBOM := build/sbom
release: wheel ## the wheel, its SBOM (CycloneDX) and their checksums, in dist/
	$(BIN)/python -m venv --clear --without-pip $(SBOM)
	$(BIN)/python -m pip --python=$(SBOM)/bin/python install $(PIP_FLAGS) --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip --python=$(SBOM)/bin/python install $(PIP_FLAGS) --no-deps --no-index dist/*.whl
	version=$$($(SBOM)/bin/coc-exporter --version | cut -d' ' -f2) && \
	  sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > $(SBOM)/pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject $(SBOM)/pyproject.toml --output-reproducible --short-PURLs \
	  -o dist/sbom.cdx.json $(SBOM)/bin/python
	cd dist && sha256sum *.whl sbom.cdx.json > SHA256SUMS

clean: ## remove what was built
	rm -rf $(VENV) build dist

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

# The locks name everything, so nothing is left to resolve; pip's resolver stumbles over extras once a newer version is out.
$(VENV)/.installed: $(VENV)/pyvenv.cfg requirements.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps -r requirements.lock
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-%: tests/%/requirements.lock $(VENV)/.installed-dev
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps -r $<
	touch $@
