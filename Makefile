# Everything runs in .venv, which the first target that needs it makes. Set PYTHON to choose the
# interpreter; by default it is the first one here that resnetgen supports and that can make one.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CAN_MAKE_VENV := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
# Run, not looked up: a version manager's stand-ins exist for versions that are not there.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c '$(CAN_MAKE_VENV)' 2>/dev/null && echo "$$python" && break; done)

BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A test may run a framework, with memory to match, in a process of its own.
# Idle workers take tests from those that still have some: a few last for minutes.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal
INSTALLED := pyproject.toml constraints.txt

GENERATED := resnet18 resnet34 resnet50 resnet101 resnet152 plain34 \
	resnet20 resnet56 resnet110 resnet77 resnet29_triple

.PHONY: build
build: .venv/frameworks ## Install resnetgen with its frameworks, and build and verify ResNet-50
	$(BIN)/resnetgen build specs/resnet50.yaml

.PHONY: test
test: .venv/tests ## Run all tests, in every framework
	$(BIN)/pytest $(PARALLEL)

.PHONY: parity
parity: .venv/peers ## Compare the bundled networks with those of nine other libraries
	$(BIN)/python tests/parity.py

.PHONY: bundled
bundled: .venv/tests ## Verify every network that ships with resnetgen in every target
	$(BIN)/python tests/verify_bundled.py

.PHONY: fuzz
fuzz: .venv/tests ## Draw and damage thousands of specs and files, and see what comes of it
	$(BIN)/python tests/fuzz.py

.PHONY: mutants
mutants: .venv/tests ## Put one fault at a time into networks' files, and score what verify finds
	$(BIN)/python tests/mutants.py

.PHONY: reliability
reliability: .venv/tests ## Kill, interrupt and refuse commands while they write, and see what is left
	$(BIN)/python tests/reliability.py

.PHONY: check
check: lint types fast current ## Style, types, the tests that need no framework, and generated/

.PHONY: lint
lint: .venv/tools ## Formatting and ruff's rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: .venv/tools ## Pyright, strict
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: fast
fast: .venv/tools ## The tests that need no framework
	$(BIN)/pytest $(PARALLEL) --without-frameworks

.PHONY: current
current: .venv/tools ## Is generated/ what the specs compile to now?
	$(BIN)/resnetgen build --check

.PHONY: generated
generated: .venv/frameworks ## Build and verify the networks in generated/ again
	$(BIN)/resnetgen build $(GENERATED) --force

.PHONY: docs
docs: .venv/tools ## Write docs/language.md again from the language's schema
	$(BIN)/resnetgen schema --format markdown > docs/language.md

.PHONY: bench
bench: .venv/tests ## Measure speed and memory
	$(BIN)/python bench/speed.py

.PHONY: clean
clean: ## Remove the virtual environment, caches and weights
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist generated/*/model.safetensors

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv here;" \
		"install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/tools: $(INSTALLED) | .venv/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/frameworks: $(INSTALLED) | .venv/bin/python
	@echo "Installing PyTorch, TensorFlow, JAX and ONNX Runtime; this takes a few minutes."
	$(PIP) --editable '.[torch,tensorflow,jax,onnxruntime]'
	@touch $@

.venv/tests: .venv/frameworks .venv/tools
	$(PIP) torchvision timm
	@touch $@

# Without what they ask for: KerasHub would bring a second TensorFlow, for texts.
.venv/peers: .venv/tests
	$(PIP) --no-deps keras-hub kagglehub kagglesdk regex transformers tokenizers
	@touch $@
