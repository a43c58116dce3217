# From a bare Debian 12 with Rust and Go: `make demo` to see it, `make test` to check it. Most targets need root.

TARGET := $(or $(CARGO_TARGET_DIR),target)
HARNESS := $(TARGET)/debug/harness
# What goes into images: release, or dev for somebody who tries a change.
export SIYADA_PROFILE ?= release
FAULTS := cargo build --workspace --bin faults --bin siyada-operator --bin siyada-api
# A new cluster for faults; nothing runs on its nodes, as it has none.
nodeless = $(HARNESS) down --name $(1) --purge && $(HARNESS) up --name $(1) --no-node --object-store
MINUTES := $(if $(filter dev,$(SIYADA_PROFILE)),2,6)
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help harness build ahead check test upgrade demo up cluster down status logs bench stories blind soak faults sample storm mutants licences

# this list
help:
	@awk '/^# /{text=substr($$0,3)} /^[a-z]+:/{split($$1,t,":"); if (text && t[1] != "help") printf "  make %-8s %s\n", t[1], text; text=""}' Makefile

# the tool that makes clusters, the Debian packages it needs, and nothing else
harness:
	cargo build --quiet --workspace --bin harness
	$(HARNESS) deps

# everything compiled: third-party programs, container images, our own programs
build: harness
	$(HARNESS) build
	$(HARNESS) images
	@echo "compiling siyada-operator and siyada-api for their images, $(SIYADA_PROFILE): some $(MINUTES) minutes on 2 cores at first"
	cargo build --profile $(SIYADA_PROFILE) --package siyada-operator --package siyada-api
	@echo "compiling what orders, tests and measures: up to three minutes at first"
	cargo build --workspace --bin demo --bin stories --bin bench --bin soak --bin outages

# what only `make test` does: third-party programs and images beside the lints, whose linkers leave a processor idle; `build` waits for them
ahead: harness
	@echo "third-party programs and images are made beside what follows: $(TARGET)/ahead.log"
	@nice $(HARNESS) images > $(TARGET)/ahead.log 2>&1 &

# lints and every test that needs no cluster, in minutes
check: harness
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

# what the crates of others are allowed to be: licences, sources, and those that must not come in
licences: harness
	$(HARNESS) cargo-deny check bans licenses sources

# everything CI runs: `check`, `upgrade`, a sample of faults, then the stories but every other long one by turns and a sample of the soak, each on a real cluster that is deleted afterwards
test: ahead check licences build upgrade sample
	$(HARNESS) trial --name ci --previous -- $(TARGET)/debug/stories --sample
	$(HARNESS) trial --name ci -- $(TARGET)/debug/soak

# the ledger through an upgrade from the previous landing and back, without a cluster; a minute once both are compiled
upgrade: harness
	$(HARNESS) previous -- cargo test --workspace --test it upgrade::what_was_recorded_and_closed_is_kept_through_an_upgrade_and_back -- --ignored

# a running platform with the examples applied; says where to look, and stays
demo: cluster
	$(HARNESS) exec -- $(TARGET)/debug/demo

# the cluster with the platform and no orders; again to repair it or after a change
up: cluster
	$(HARNESS) exec -- $(TARGET)/debug/demo --platform-only

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

# how close the ledger and the operator come to raw ceilings, as tables and JSON
bench: build
	cargo run --quiet --release --package siyada-api --example ledger_bench
	cargo run --quiet --release --package siyada-api --example ledger_bench -- --finance
	$(HARNESS) trial --name bench -- $(TARGET)/debug/bench

# every story, those too that `make test` leaves out by the commit
stories: build
	$(HARNESS) trial --name stories --previous -- $(TARGET)/debug/stories

# every story once without the webhook, which only advises: before a landing
blind: build
	$(HARNESS) trial --name blind -- $(TARGET)/debug/stories --without-webhook

# 500 kills over the ledger alone, without a cluster, in minutes; SIYADA_SEED repeats one; writes docs/storm.md
storm:
	cargo test --package siyada-api --test it i04_a_whole_storm -- --ignored --nocapture

# every fault at every write of the operator, on three clusters without nodes; two hours; goes on where it was interrupted; writes docs/faults.md
faults: harness
	$(FAULTS)
	for n in 1 2 3; do $(call nodeless,faults$$n) || exit 1; done
	for n in 1 2 3; do $(HARNESS) exec --name faults$$n -- $(TARGET)/debug/faults --full & all="$$all $$!"; done; \
	for one in $$all; do wait $$one || bad=1; done; exit $${bad:-0}
	for n in 1 2 3; do $(HARNESS) down --name faults$$n --purge; done

# seven minutes of it: every case that ever failed, and others drawn from the commit; SIYADA_SEED repeats one
sample: harness
	$(FAULTS)
	$(call nodeless,sample)
	$(HARNESS) exec --name sample -- $(TARGET)/debug/faults --sample 420
	$(HARNESS) down --name sample --purge

# every invariant of billing broken on purpose, and the test that must fail; half an hour; writes docs/mutations.md
mutants:
	cargo run --quiet --package siyada-mutants

# the storm, every fault at every write, every walk, every cell of the kill matrix, the long rest, and each part away for ten minutes; hours; goes on where it was interrupted; writes docs/faults.md, docs/faults-real.md, docs/soak.md and docs/outages.md
soak: build storm faults
	$(HARNESS) trial --name faults -- $(TARGET)/debug/faults --real --sample 2400
	$(HARNESS) trial --name soak -- $(TARGET)/debug/soak --full
	$(HARNESS) trial --name outages -- $(TARGET)/debug/outages
