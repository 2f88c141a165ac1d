# `make` alone lists the targets. Needs Python 3.11 or newer, make and git; everything else goes into .venv.

# The first interpreter on the PATH that is new enough; `make PYTHON=/path/to/python3` chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.setup-done
# Options for the installation of torch alone, for example another package index.
TORCH_FLAGS ?=
# Test processes: one a core, at most four, since each holds torch and models.
JOBS ?= $(shell cores="$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"; echo $$((cores < 4 ? cores : 4)))
ARGS ?=
DATA ?= data/sample_dialogues.jsonl
OUT ?= runs/mine
MODEL ?= persona-smol

.DEFAULT_GOAL := help
.PHONY: help setup base demo chat test coverage test-hard train check-model bench lint format

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install everything (once; again when requirements or C code change)

# torch first and alone: with it in place, no other package can bring a different build.
# Compiled code is built anew when its source is newer, after a pull for example.
$(STAMP): requirements.txt pyproject.toml $(wildcard convai/*/*.[ch] convai/*/*/*.[ch] convai/*/*/*/*.[ch])
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "make: $(PYTHON) cannot create a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PIP) install $(TORCH_FLAGS) "$$(grep '^torch==' requirements.txt)"
	$(PIP) install -r requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Nothing to do where it is there already; without it everything else works, on a smaller model.
base: setup ## fetch the base model of the default model into your cache folder (93 MB, once)
	@$(BIN)/convai models get smollm2-135m > /dev/null || echo "make: going on without the base model" >&2

demo: setup base ## chat in the browser on http://127.0.0.1:8000 (ARGS="--port 8001" passes options)
	@$(BIN)/convai serve $(ARGS)

chat: setup base ## talk in the terminal (ARGS="--seed 1" passes options)
	@$(BIN)/convai chat $(ARGS)

# Each process has half of the tests in their order, and takes of the other's when it is done: what a file of
# tests prepares is prepared once.
test: setup base ## run the tests (ARGS="-k layers" passes options)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

coverage: setup base ## run the tests and print which lines they reach
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term $(ARGS)

# Hours: ARGS="--rounds 2" for fewer orders, ARGS="--only frozen slow --parts tests/server" for some of it.
test-hard: setup base ## the tests in random orders, under load, with a frozen clock, a fast and a slow model
	$(BIN)/python -m tests.hard --jobs $(JOBS) $(ARGS)

train: setup ## train: make train DATA=my.jsonl OUT=runs/mine ARGS="--epochs 3" (default: the sample dialogues)
	@$(BIN)/convai train "$(DATA)" --out "$(OUT)" $(ARGS)

# What the model's card says of it. Both cores do all of it in some ten minutes; HELD_OUT is a file of dialogues.
check-model: setup base ## what is measured before a model ships: make check-model MODEL=runs/mine HELD_OUT=valid.txt
	@test -n "$(HELD_OUT)" || { echo "make: HELD_OUT is missing; name a file of dialogues that MODEL was not trained on" >&2; exit 2; }
	$(BIN)/convai evaluate --model "$(MODEL)" --data "$(HELD_OUT)" --dialogs 60 --metrics hits,ppl --precision int8
	$(BIN)/convai evaluate --model "$(MODEL)" --probes --draws 1 --precision int8 $(ARGS)
	$(BIN)/convai evaluate --model "$(MODEL)" --probes --draws 1 --precision int8 --samples 1 $(ARGS)
	$(BIN)/convai evaluate --model "$(MODEL)" --probes data/evaluation/probes_later.jsonl --draws 1 --precision int8 $(ARGS)

lint: setup ## check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## measure training against the blog post's layout
	@$(BIN)/convai bench train $(ARGS)

format: setup ## put the style right where that can be done by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
