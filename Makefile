# `make help` lists the targets; deploy/stack/make does the work of those that start and stop things.
# Variables (MIN_BATCH_SIZE=5 make up, make up STACK=embedded) may also stand in a .env file.

.DEFAULT_GOAL := help
.PHONY: up down down-v env status logs listener token test bench chaos lateness simulate mutants fuzz api-fuzz
.PHONY: fmt lint rules deny advisories doc help

up: ## Start everything and wait until it is ready (STACK=compose|embedded|none)
	@deploy/stack/make up

down: ## Stop everything, the test stack too
	@deploy/stack/make down

down-v: ## Stop everything and delete its data
	@deploy/stack/make down-v

env: ## Print the running stack's settings as NAME=value lines
	@deploy/stack/make env

status: ## Show what runs, where, and whether it is ready
	@deploy/stack/make status

logs: ## Show the logs; in a terminal they are followed until Ctrl-C
	@deploy/stack/make logs

listener: ## Run one more queue-listener in the foreground
	@deploy/stack/make listener

token: ## Print a token: USER=<uuid> [SCOPE='messages:send …'] [TTL=1h]
	@deploy/stack/make token

test: ## Run all tests; ARGS='…' goes to cargo test
	@deploy/stack/make test $(ARGS)

bench: ## Measure the services beside what this machine can do; GROWTH=1 adds growth, ARGS='drain --rounds 1' takes a part
	@deploy/stack/make bench $(if $(GROWTH),--growth) $(ARGS)

chaos: ## Kill, stop and restart listeners under load and count what became of every stamp; ARGS='--seed 7'
	cargo build --release --locked --bins -p e2e
	target/release/chaos $(ARGS)

lateness: ## Measure how late stamps leave while something dies or is away; ARGS='kills', ARGS='--help' lists the others
	cargo build --release --locked --bins -p e2e
	target/release/lateness $(ARGS)

simulate: ## Try orders of events until stopped: SEED=7 SECONDS=300, or HISTORY=FILE to play one again
	@cargo build --quiet --release --locked -p simulation
	@target/release/simulate $(if $(SEED),--seed '$(SEED)') $(if $(SECONDS),--seconds '$(SECONDS)') \
	  $(if $(HISTORY),--history '$(HISTORY)')

mutants: ## Break the heart in every known way and see the simulator find it
	@crates/simulation/mutants/run

# Built without optimization that takes two minutes, once; the instrumented build of all that is fuzzed takes some more.
CARGO_BOLERO := 0.13.5
fuzz: export PATH := $(CURDIR)/target/tools/bin:$(PATH)
fuzz: ## Try each decoder of foreign bytes with bytes that find new ways through it: SECONDS=60 each, ARGS='texts::date' takes one
	@cargo bolero --version 2>/dev/null | grep -qxF 'cargo-bolero $(CARGO_BOLERO)' || CARGO_PROFILE_DEV_DEBUG=0 cargo install \
	  cargo-bolero --version $(CARGO_BOLERO) --locked --debug --no-default-features --features libfuzzer --root target/tools
	@crates/fuzz/run $(or $(SECONDS),60) $(ARGS)

api-fuzz: ## Send stamp-api what its description allows and what it forbids, and judge the answers: EXAMPLES=100 SEED=7
	@deploy/stack/make api-fuzz $(or $(EXAMPLES),100) $(if $(SEED),--seed '$(SEED)') $(ARGS)

fmt: ## Format the code
	cargo fmt --all

lint: ## Check format, clippy, rustdoc and shell scripts; a warning is an error
	deploy/stack/shellcheck
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

rules: ## Check Prometheus's configuration and rules, and test that each alert fires when it should
	@deploy/stack/rules

# Built without optimization that takes a minute or two, once, and the check a second or two either way.
CARGO_DENY := 0.20.2
deny advisories: export PATH := $(CURDIR)/target/tools/bin:$(PATH)
deny advisories: cargo-deny
deny: ## Check where the dependencies come from, their licenses, and that none is banned (deny.toml)
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

advisories: ## Check the dependencies for known vulnerabilities; fetches the RustSec database from GitHub
	cargo deny --locked check --hide-inclusion-graph advisories

.PHONY: cargo-deny
cargo-deny:
	@cargo deny --version 2>/dev/null | grep -qxF 'cargo-deny $(CARGO_DENY)' || \
	  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version $(CARGO_DENY) --locked --debug --root target/tools

doc: ## Build the API documentation of the crates into target/doc
	cargo doc --workspace --no-deps --locked

help: ## List what exists
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
