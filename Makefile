# `make help` lists what can be done. The work is in scripts under e2e/, so that it can be run without make.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check build fmt lint deny unit crds charts cluster images install cluster-tests soak limits bench bench-pool conformance fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## from a fresh clone to a finished job on a real Kubernetes (first run: about half an hour)
	@e2e/demo.sh

demo-down: ## remove all that the demo and the tests brought up; the cache stays
	@e2e/demo-down.sh

test: ## everything that CI runs: format, lints, unit, protocol, charts, cluster
	@e2e/test.sh

check: fmt lint unit ## what to run before every commit: minutes, no cluster

build: ## compile everything for development
	cargo build --workspace --locked

fmt: ## check the format
	cargo fmt --all --check

lint: ## clippy, warnings denied
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny: ## licences, sources, and the arrows between crates
	@e2e/tools.sh
	$${DAYFLY_CACHE:-$$HOME/.cache/dayfly}/tools/bin/cargo-deny check bans licenses sources

unit: ## unit, property and protocol tests, without a cluster
	@e2e/clients.sh
	@e2e/browser.sh
	cargo test --locked

crds: ## write crds/ and the chart's copy from the types
	cargo run --quiet --locked -p dayfly-operator -- crd --directory crds
	cp crds/*.yaml charts/dayfly/files/crds/

charts: ## lint and render the charts
	@. ./e2e/cluster/env.sh && charts/check.sh

cluster: ## bring the test cluster up
	@e2e/cluster/build.sh && e2e/cluster/up.sh

images: ## build the programs and load the images
	@e2e/binaries.sh && e2e/cluster/images.sh target/images

install: cluster images ## install both charts on the test cluster
	@e2e/install.sh

cluster-tests: install ## the cluster suite alone
	@. ./e2e/cluster/env.sh && cargo test --locked -p dayfly-e2e -- --test-threads=2

soak: ## kill the pool service 100 times under load, on SQLite and on PostgreSQL, and the operator at each call three times
	@e2e/soak.sh

limits: ## what the agent bears, at full size: long lines, many lines, long messages, bombs (needs 10 GB of disk)
	@e2e/limits.sh

bench: install ## measure against a bare pod of the same shape; writes target/bench/
	@. ./e2e/cluster/env.sh && target/images/out/dayfly-bench

bench-pool: ## measure the pool service under load, on SQLite and on PostgreSQL: make bench-pool [ARGS=...]
	@bench/pool/run.sh $(ARGS)

# The token goes into the environment and never onto a command line.
conformance: export DAYFLY_POOL_TOKEN = $(PAT)
conformance: ## hold a service against the protocol: make conformance URL=... PAT=... [POOL=...]
	@cargo run --quiet --locked -p dayfly-conformance -- --url "$(URL)" $(if $(POOL),--pool "$(POOL)")

fuzz: ## feed every parser of strangers' bytes with what breaks parsers: make fuzz [SECONDS=60] [NAMES=...]
	@fuzz/run.sh $(or $(SECONDS),60) $(NAMES)

clean: ## remove what cargo built
	cargo clean
