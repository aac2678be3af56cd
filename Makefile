SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-gateway bench-queue profile chaos test-containers test-rabbitmq4 docs requirements clean

PYTHON := .venv/bin/python
PAGE := services/upload/web
LOCKS := upload dicer pyramid sync viewer ops local
SLIDE ?=
FAULTS ?= 300
KILL_SECONDS ?= 120
IMAGES ?= 10000
CASES ?=
CASE ?= svs-23000
PYTEST ?=
BROKER_TESTS := tests/broker tests/chaos/test_controls.py tests/stack/test_servers.py \
	tests/contract/test_bus.py tests/contract/test_journal.py tests/contract/test_letters.py

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: ## Install what is missing and build the page; quick when nothing is to do
	@deploy/local/setup.sh

demo: setup ## Run everything here with a sample slide, until Ctrl-C (SLIDE=path for your own)
	@./slidemill demo $(if $(SLIDE),--slide "$(SLIDE)")

test: setup ## Run all tests but the containers and the long chaos run (PYTEST="-k name" for some)
	npm run --silent --prefix $(PAGE) check
	npm run --silent --prefix $(PAGE) test
	$(PYTHON) -m pytest tests --ignore=tests/containers -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: setup ## Check style, types, imports between parts, and that generated documents are fresh
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTHON) -m docs.generate --check

bench: setup ## Compare with vips dzsave on the same slide, three pairs (CASES=all, or names; SLIDE=path); then uploads
	$(PYTHON) -m tests.bench $(CASES) $(if $(SLIDE),--slide "$(SLIDE)")
	$(if $(CASES)$(SLIDE),,$(PYTHON) -m tests.bench.gateway)

profile: setup ## Show where the time of one of the bench's cases goes, step by step (CASE=svs-23000)
	$(PYTHON) -m tests.bench.profile $(CASE)

bench-gateway: setup ## Compare uploads with a plain GridFS driver and a tus server, five rounds; and sixteen at once
	$(PYTHON) -m tests.bench.gateway

bench-queue: setup ## Let 10,000 small slides wait in the queue: rate and memory beside those with 100 (IMAGES=n)
	$(PYTHON) -m tests.bench.queue --images $(IMAGES)

chaos: setup ## Break things at random and prove that nothing is lost (FAULTS=n KILL_SECONDS=n)
	$(PYTHON) -m tests.chaos --faults $(FAULTS)
	SLIDEMILL_KILL_SECONDS=$(KILL_SECONDS) $(PYTHON) -m pytest -q -rP tests/sync/test_kills.py

test-containers: ## Build the dicer's image with buildah and dice a slide in it (needs root)
	@deploy/local/setup.sh containers
	$(PYTHON) -m pytest tests/containers $(PYTEST)

test-rabbitmq4: ## Run the broker's tests on RabbitMQ 4.0 of a Debian 13 made by debootstrap (needs root)
	@deploy/local/setup.sh rabbitmq4
	SLIDEMILL_RABBITMQ_SERVER=$$($(PYTHON) -m tests.trixie) && export SLIDEMILL_RABBITMQ_SERVER && \
	$(PYTHON) -m pytest $(BROKER_TESTS) -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

docs: setup ## Generate the documents that are made from the code
	$(PYTHON) -m docs.generate

requirements: setup ## Lock the dependencies of pyproject.toml anew, with hashes
	$(PYTHON) -m pip install --quiet --upgrade --target .venv/uv uv
	@lock() { .venv/uv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --custom-compile-command 'make requirements' "$$@" >/dev/null; }; \
	lock --group dev --output-file requirements/dev.txt && \
	for group in $(LOCKS); do \
		lock --group $$group --constraints requirements/dev.txt --output-file requirements/$$group.txt || exit; \
	done

clean: ## Remove what was built and installed in this folder; the data under var/ stay
	rm -rf .venv .setup.lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf $(PAGE)/node_modules $(PAGE)/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
