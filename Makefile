# From a bare Debian 12 with Rust and Go: `make demo` to see it, `make test` to check it. Most targets need root.

HARNESS := target/debug/harness
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help harness build check test demo up cluster down status logs bench soak

# this list
help:
	@awk '/^# /{text=substr($$0,3)} /^[a-z]+:/{split($$1,t,":"); if (text && t[1] != "help") printf "  make %-8s %s\n", t[1], text; text=""}' Makefile

# the tool that makes clusters, the Debian packages it needs, and nothing else
harness:
	cargo build --quiet --package siyada-harness
	$(HARNESS) deps

# everything compiled: third-party programs, container images, our own programs
build: harness
	$(HARNESS) build
	$(HARNESS) images
	cargo build --workspace

# lints and every test that needs no cluster, in minutes
check: harness
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

# everything CI runs: `check`, then the stories and 15 minutes of the soak, each on a real cluster that is deleted afterwards
test: check build
	$(HARNESS) trial --name ci -- target/debug/stories
	$(HARNESS) trial --name ci -- target/debug/soak

# a running platform with the examples applied; says where to look, and stays
demo: cluster
	$(HARNESS) exec -- target/debug/demo

# the cluster with the platform and no orders; again to repair it or after a change
up: cluster
	$(HARNESS) exec -- target/debug/demo --platform-only

cluster: build
	$(HARNESS) up
	$(HARNESS) load

# all of the cluster gone, its databases too; compiled programs and images stay in the cache
down: harness
	$(HARNESS) down --purge

# every component, its process and its log
status: harness
	$(HARNESS) status

# the end of every log
logs: harness
	$(HARNESS) logs

# how close the operator comes to what the API server can do, as a table and JSON
bench: build
	$(HARNESS) trial --name bench -- target/debug/bench

# every walk, every cell of the kill matrix and the long rest; hours; goes on where it was interrupted; writes docs/soak.md
soak: build
	$(HARNESS) trial --name soak -- target/debug/soak --full
