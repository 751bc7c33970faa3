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
	@echo "Building the demo: some 340 crates, three to five minutes on two idle cores the first time, seconds later."
	@$(CARGO) build --locked --package demo
	@echo "Starting it: links follow at once, the first metrics within seconds, all of them within two minutes."
	@$(CARGO) run --locked --quiet --package demo

.PHONY: tools
tools: ## Install what the tests need by package name, where it is missing
	@tests/install-tools.sh

# Tests at once: many of them wait for programs and sockets more than half of their time.
RUST_TEST_THREADS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 )))

.PHONY: test
test: rust tools ## Install what the tests need, then run every test
	RUST_TEST_THREADS=$(RUST_TEST_THREADS) $(CARGO) test --locked --workspace

.PHONY: lint
lint: rust ## Check format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: bench
bench: rust ## Measure speed, memory and requests, and print the figures beside their targets
	$(CARGO) bench --locked --bench figures

# In src and of no build but the tests'; its folders tests/ and files tests.rs are left out anyway.
TEST_ONLY := (properties|testing)/|(testing|conformance|mutation|bodies|complexity)\.rs$$

.PHONY: coverage
coverage: rust tools ## Run every test and print how much of src they reach; less than 80 % of lines fails
	@$(CARGO) llvm-cov --version >/dev/null 2>&1 || { echo "cargo-llvm-cov is missing: run cargo install --locked cargo-llvm-cov, then this again." >&2; exit 1; }
	@[[ -n "$${LLVM_COV:-}" || -e "$$(rustc --print target-libdir)/../bin/llvm-cov" ]] || { echo "LLVM's tools are missing: run rustup component add llvm-tools, or set LLVM_COV and LLVM_PROFDATA to those of the LLVM that rustc -vV names, then run this again." >&2; exit 1; }
	$(CARGO) llvm-cov --locked --no-cfg-coverage --lib --bins --test integration \
		--ignore-filename-regex '$(TEST_ONLY)' --fail-under-lines 80

.PHONY: weight
weight: rust ## Build the program as releases have it, and weigh it with the CA certificates
	@$(CARGO) build --locked --profile dist --bin amazing-gitlab-exporter
	@.ci/weigh "$${CARGO_TARGET_DIR:-target}/dist/amazing-gitlab-exporter"

.PHONY: fuzz-check
fuzz-check: rust ## Check that the targets of fuzz/ compile
	RUSTFLAGS="$(RUSTFLAGS) --cfg fuzzing" $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --bins

FUZZ_SECONDS ?= 300

.PHONY: fuzz
fuzz: rust ## Fuzz each target of fuzz/ for FUZZ_SECONDS
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: run cargo install --locked cargo-fuzz, then this again." >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { echo "Nightly Rust is missing: run rustup toolchain install nightly, then this again." >&2; exit 1; }
	@for target in config rest graphql text state webhook; do \
		mkdir -p fuzz/corpus/$$target; \
		$(CARGO) +nightly fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-dict=fuzz/json.dict -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done
