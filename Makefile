# encoderd: everything one does here, a target each. `make help` lists them.
#
# `make demo` and `make test` work on a machine that has only git, make and a Rust toolchain: they look for what else
# they need, say what is missing and install it with apt, or name it and stop where there is no apt.

.DEFAULT_GOAL := help
.PHONY: help deb man test-package setup-build setup-demo setup-test setup-bench setup-bench-pcsc build demo test test-hub bench-hub bench-pcsc bench-service fmt clippy deny clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 18

setup-build: ## install what a build needs: a C compiler
	@scripts/setup build

setup-demo: ## install what the lines that the demo prints need: curl, the Seam SDK in target/venv
	@scripts/setup demo

setup-test: ## install what the tests run against: libnfc's tools, pcscd, PostgreSQL, the Seam SDKs in target/venv and target/node
	@scripts/setup test

setup-bench: ## install the peer that the hub is measured beside, in target/peer
	@scripts/setup bench

setup-bench-pcsc: ## install what PC/SC readers are measured with: pcscd, pyscard, and nfc-pcsc in target/peer-pcsc
	@scripts/setup bench-pcsc

build: setup-build ## build everything for development
	cargo build --locked --workspace

demo: setup-demo ## run a hub with two virtual encoders; options in ARGS, such as make demo ARGS=--check
	cargo build --locked
	@"$${CARGO_TARGET_DIR:-target}/debug/encoderd" demo $(ARGS)

test: ## check format, lints and dependencies, and run all tests with their real parts
	@scripts/test

test-hub: ## run the hub's tests alone, on SQLite and on PostgreSQL, and hold its answers against Seam's models
	@scripts/test hub

bench-hub: setup-bench ## measure the hub beside fake-seam-connect and alone; fails when a goal is missed
	cargo bench --locked --bench hub

bench-pcsc: setup-bench-pcsc ## measure PC/SC readers beside nfc-pcsc and pyscard; fails when a goal is missed
	cargo bench --locked --bench pcsc

bench-service: setup-bench-pcsc ## measure what the daemon costs its PC: start, memory, wake-ups; fails when a goal is missed
	cargo bench --locked --bench service

deb: ## build the Debian package into target/debian
	@scripts/setup package
	@scripts/deb

man: build ## write man pages and shell completions into target/generated
	"$${CARGO_TARGET_DIR:-target}/debug/encoderd" generate man target/generated/man
	"$${CARGO_TARGET_DIR:-target}/debug/encoderd" generate completions target/generated/completions

test-package: ## try the Debian package on a Debian of its own, booted with systemd: a newcomer, sandbox, upgrade, purge
	@scripts/test package

fmt: ## format the code
	cargo fmt --all

clippy: ## lint, with warnings as errors
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny: ## check licences, sources and advisories of dependencies
	@scripts/deny

clean: ## remove everything that was built or installed into target/
	cargo clean
