# One command each; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= curvefs/test
WORKERS ?= 3

.PHONY: help setup demo demo-stop test check proto requirements coverage bench test-long sim sim-faults model chaos drill fsx soak clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: ## Install Debian packages, a virtual environment in .venv, and this package
	@tools/setup.sh $(PYTHON)

demo: setup ## Start everything on this machine, mount it, show it (STORE=file: blocks in a plain folder)
	@$(BIN)/python -m curvefs_tool.demo start --store $(or $(STORE),s3)

demo-stop: ## Stop what `make demo` started
	@$(BIN)/python -m curvefs_tool.demo stop

test: setup check ## Everything: checks, unit tests, real mounts, real processes
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations=15 $(TESTS)

test-long: setup ## The same with the sizes that take long (100,000 files, ...)
	@CURVEFS_TEST_LONG=1 $(BIN)/python -m pytest -q curvefs/test/system

sim: setup ## Seeded simulation of replicated groups (SCHEDULES=1000 FIRST=0); SEED=n replays one, TRACE=1 prints its events
	@$(BIN)/python -m curvefs.test.sim $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace), \
	  --schedules $(or $(SCHEDULES),1000) --first $(or $(FIRST),0))

sim-faults: setup ## Plant faults in that code and see the simulation find each (FAULTS: names, else all)
	@$(BIN)/python -m curvefs.test.sim.plant $(FAULTS)

model: setup ## Random scripts of the whole data path under faults against plain bytes (EXAMPLES=2000 of each kind of mounts, SEED=n)
	@$(BIN)/python -m curvefs.test.model --examples $(or $(EXAMPLES),2000) $(if $(SEED),--seed $(SEED))

chaos: setup ## Real clusters: leaders killed under load (KILLS=20), quotas (OPERATIONS=10000), histories under faults (HISTORIES=1000, SEED=n)
	@$(BIN)/python -m curvefs.test.chaos kills --kills $(or $(KILLS),20)
	@$(BIN)/python -m curvefs.test.chaos quotas --operations $(or $(OPERATIONS),10000) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m curvefs.test.chaos histories --count $(or $(HISTORIES),1000) $(if $(SEED),--seed $(SEED))

drill: setup ## A real fleet loses a metaserver and a zone, and gains one, under a workload
	@$(BIN)/python -m curvefs.test.chaos drill

soak: setup ## Overwrite a file of 1 GiB at random while another mount reads it (MINUTES=20)
	@$(BIN)/python -m curvefs.test.soak --minutes $(or $(MINUTES),20)

fsx: setup ## Random operations on files of a real mount, and of two (OPERATIONS=1000000 SEEDS=10 FIRST=1)
	@$(BIN)/python -m curvefs.test.fsx run --operations $(or $(OPERATIONS),1000000) --seeds $(or $(SEEDS),10) --first $(or $(FIRST),1)
	@$(BIN)/python -m curvefs.test.fsx run --two --operations $(or $(OPERATIONS),100000) --seeds $(or $(SEEDS),10) --first $(or $(FIRST),1)

check: setup ## Lint, format, types, layers, fresh protobuf, tidiness
	@$(BIN)/ruff check -q curvefs tools
	@$(BIN)/ruff format -q --check curvefs tools
	@$(BIN)/mypy
	@$(BIN)/lint-imports > .import-linter.log 2>&1 || { cat .import-linter.log; exit 1; }
	@$(BIN)/python tools/check/proto.py --check
	@$(BIN)/python tools/check/tidy.py

proto: setup ## Generate the protobuf modules
	@$(BIN)/python tools/check/proto.py

requirements: setup ## Pin the dependencies with hashes
	@$(BIN)/python tools/check/requirements.py

coverage: setup ## Unit tests with coverage, as HTML in htmlcov/
	@$(BIN)/coverage run -m pytest -q curvefs/test --ignore=curvefs/test/system --ignore=curvefs/test/fuse
	@$(BIN)/coverage html -q && $(BIN)/coverage report | tail -n 1

bench: setup ## Compare with other filesystems (FSBENCH: folder of fsbench.py; PEERS: its scripts)
	@test -n "$(FSBENCH)" || { echo "FSBENCH=folder of fsbench.py is needed"; exit 2; }
	@FSBENCH_PEERS=$(FSBENCH)/peers $(PYTHON) $(FSBENCH)/fsbench.py matrix \
	  $(foreach p,$(or $(PEERS),juicefs juicefs-always),$(FSBENCH)/peers/$(p).sh) $(CURDIR)/tools/bench/curvefs.sh --rounds $(or $(ROUNDS),2)

clean: ## Remove what was generated
	rm -rf $(VENV) htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .import-linter.log build *.egg-info
