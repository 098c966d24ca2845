# `make demo` and `make test` do all the set-up that they need. `make help` lists the rest.

CARGO ?= cargo
# Through cargo, which knows where its target directory is.
CROSSFADE := $(CARGO) run --release --locked --quiet -p crossfade --

.PHONY: help demo test build check-rust lint interop bench deny

help: ## List what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

check-rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again."; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: install one (Debian: apt-get install gcc libc6-dev), then run this again."; exit 1; }

build: check-rust ## Build the release binary.
	$(CARGO) build --release --locked -p crossfade

demo: build ## A shop in the middle of its migration: proven equal, then two failures, one of them found and named.
	$(CROSSFADE) demo

test: check-rust ## Every fast test.
	$(CARGO) test --workspace --locked

lint: check-rust ## Formatting and lints, as CI does.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# Another version may read deny.toml otherwise, and the newest may want a newer Rust.
CARGO_DENY := 0.20.2

deny: check-rust ## Licences, sources and bans of the dependencies.
	@$(CARGO) deny --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY)' \
		|| $(CARGO) install --locked cargo-deny@$(CARGO_DENY)
	$(CARGO) deny check licenses bans sources

interop: build ## Against clients and servers of other makers; installs what is missing.
	python3 interop/run.py

bench: build ## Compare with the peers that environment variables name; writes docs/benchmarks.md.
	python3 bench/run.py
