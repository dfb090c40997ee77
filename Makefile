# `make demo` and `make test` each stand alone: both build .venv when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
SUITE ?= benchmarks/quickstart.yaml
# Which build of torch: one of uv's backends (cu126, cpu, ...), or empty for the one of requirements.lock. The stamp of an
# environment holds it, so that later targets leave it as it is.
STAMP := .venv/installed
TORCH_BACKEND ?= $(shell cat $(STAMP) 2>/dev/null)
# Pytest keeps its bytecode, which is half of what it takes to collect the tests.
PYTEST := env --unset=PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
# A module stays on one worker; the slow ones come first (tests/conftest.py). One worker more than cores: those that start
# processes wait for them half the time.
WORKERS := $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN))
SIDE_BY_SIDE := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder

.PHONY: help setup demo test test-quick test-all test-faults test-floor gpu-check check format lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

# Bytecode is compiled here because containers and clusters often forbid Python to write it (PYTHONDONTWRITEBYTECODE, a
# read-only environment), and then each process would compile torch again: 10 s instead of 4 s.
setup: $(STAMP)  ## build .venv in this folder, locked with hashes; TORCH_BACKEND=cu126 for a GTX of before 2018 (docs/gtx.md)

ifneq ($(TORCH_BACKEND),$(shell cat $(STAMP) 2>/dev/null))
OTHER_BACKEND := yes
.PHONY: $(STAMP)
endif
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
# What torch brings, and DALI: they are built for one version of CUDA, and the lock's is the newest.
OF_TORCH := ^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==
NOT_OF_TORCH := ^nvidia-ml-py==

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("error: Python %d.%d is too old\nhint: make PYTHON=/path/to/python3.11 (or newer)" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock \
		|| { echo 'error: uv, which installs all else, cannot be installed: pip says why above' >&2; exit 1; }
ifeq ($(TORCH_BACKEND),)
	rm -f $(STAMP)
	$(UV_INSTALL) --compile-bytecode --require-hashes --requirement requirements.lock
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
else
	@$(BIN)/uv pip compile --quiet --torch-backend=$(TORCH_BACKEND) - </dev/null >/dev/null 2>&1 \
		|| { printf 'error: uv has no backend for torch that is called %s\nhint: %s\n' '$(TORCH_BACKEND)' \
		'cu126 for a GTX of before 2018, cpu without a GPU; `$(BIN)/uv pip install --help` lists them' >&2; exit 1; }
	@echo '$(TORCH_BACKEND)' > $(STAMP) && touch -t 197001010000 $(STAMP)  # an install that is cut off goes on with the same
	awk '/^[^ #]/ { kept = !/$(OF_TORCH)/ || /$(NOT_OF_TORCH)/ } kept' requirements.lock \
		| $(UV_INSTALL) --compile-bytecode --no-deps --require-hashes --requirement -
	@echo 'installing torch for $(TORCH_BACKEND)'
	@$(UV_INSTALL) --compile-bytecode --no-build-isolation --torch-backend=$(TORCH_BACKEND) \
		--reinstall-package torch --reinstall-package torchvision --editable . \
		|| { printf 'error: torch cannot be installed for %s: uv says why above\nhint: %s\n' '$(TORCH_BACKEND)' \
		'docs/gtx.md tells which backends have a torch that the harness works with' >&2; exit 1; }
	$(BIN)/uv pip uninstall --quiet --python $(BIN)/python nvidia-dali-cuda130
endif
	$(BIN)/python -m compileall -q harness
	@echo '$(TORCH_BACKEND)' > $@

demo: setup  ## run the main job on the quickstart suite and show its table
	$(BIN)/harness run $(SUITE)

test: setup  ## run the tests but the slow ones: under five minutes on two quiet cores
	$(PYTEST) $(SIDE_BY_SIDE)

test-quick: setup  ## run the tests that start no process and inject no fault: under two minutes
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow and not launch" --ignore tests/faults

# CI leaves the lowest versions out, to stay under 25 minutes.
test-all: setup  ## run all tests, and the quick ones on the lowest versions (test-floor)
	$(PYTEST) $(SIDE_BY_SIDE) -m ""
	$(if $(WITHOUT_FLOOR),,$(MAKE) test-floor)

test-faults: setup  ## inject faults, and show what became of each; with KEEP=1 the table goes to results/reliability
	$(PYTEST) $(SIDE_BY_SIDE) -m "" -p tests.faults.report $(if $(KEEP),--faults-report results/reliability/faults.json) \
		tests/faults tests/data/test_download.py tests/data/test_cifar.py \
		tests/records/test_files.py tests/records/test_store.py

# The build of torch, one of uv's backends; empty takes that of the package index, where no other is reached.
FLOOR_BACKEND ?= cpu
test-floor: setup  ## run the quick tests on the lowest versions that pyproject.toml allows, in .venv-floor
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-floor
	$(BIN)/uv pip install --quiet --python .venv-floor/bin/python --resolution lowest-direct \
		$(if $(FLOOR_BACKEND),--torch-backend=$(FLOOR_BACKEND)) --editable '.[dev,timm]'
	$(PYTEST:$(BIN)/%=.venv-floor/bin/%) $(SIDE_BY_SIDE) -m "not slow and not launch" --ignore tests/faults

# With the packages that are there: on a machine without a network there is no set-up.
gpu-check:  ## measure a part on this machine's GPU: PART=overhead|loaders|speedrun|gtx|sweep [SECONDS=540] [DATA=FOLDER] [PEER=SCRIPT]
	PYTHONPATH=. $(if $(wildcard $(STAMP)),$(BIN)/python,$(PYTHON)) benchmarks/performance/gpu_check.py $(PART) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(DATA),--data $(DATA)) $(if $(PEER),--peer $(PEER))

check: setup  ## lint, formatting, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup  ## format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup  ## renew the lock files after a change of the dependencies
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --python-version 3.11 --extra dev --extra timm pyproject.toml -o requirements.lock
	echo uv | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --python-version 3.11 - -o requirements-uv.lock

clean:  ## remove the environment and the caches
	rm -rf .venv .venv-floor .pytest_cache .ruff_cache .import_linter_cache

.PHONY: test-slurm
test-slurm: setup  ## run the tests on a private SLURM cluster; needs slurm-wlm and munge
	CI_REQUIRE_SLURM=1 $(PYTEST) -m "" tests/slurm
