# The commands of this project. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 18

.PHONY: rust
rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again." >&2; exit 1; }

.PHONY: demo
demo: rust ## Build and run the exporter over a simulated GitLab, until Ctrl-C
	@$(CARGO) run --locked --example demo

.PHONY: tools
tools: ## Install what the tests need by package name, where it is missing
	@tests/install-tools.sh

.PHONY: test
test: rust tools ## Install what the tests need, then run every test
	$(CARGO) test --locked --workspace

.PHONY: lint
lint: rust ## Check format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: bench
bench: rust ## Measure speed, memory and requests, and print the figures beside their targets
	$(CARGO) bench --locked --bench figures
