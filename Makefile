# An index of what can be done here; the work is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-short race e2e lint fmt fuzz torture soak bench bench-quick clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: ## Install the Debian packages that are missing (as root or with sudo); starts no service
	@scripts/setup.sh test

build: ## Build textegress and the development servers into build/bin
	@scripts/build.sh

demo: ## Record a class of 20 seconds on real servers on this machine, and show what was delivered
	@scripts/demo.sh

test: ## All tests: unit tests with the race detector, then end to end on real servers
	@scripts/test.sh

test-short: ## Unit tests only, without the race detector: for the loop of edit and try
	@scripts/test-unit.sh -short

race: ## Unit tests with the race detector
	@scripts/test-unit.sh -race

e2e: ## End-to-end tests only (TEST=name runs one)
	@scripts/test-e2e.sh $(if $(TEST),-run '$(TEST)' -v)

lint: ## Every check that is not a test, as CI runs it
	@scripts/lint.sh

fmt: ## Format the code and apply the modernizers
	@scripts/fmt.sh

fuzz: ## Fuzz every fuzz target for FUZZTIME (default 30s)
	@scripts/fuzz.sh

torture: ## Kill, freeze, cut off and fill up the real binary for about half an hour; account for every message (SEED, KILLS, DURATION, ONLY)
	@SEED='$(SEED)' KILLS='$(KILLS)' DURATION='$(DURATION)' ONLY='$(ONLY)' scripts/torture.sh

soak: ## Sessions begin and end for 30 minutes; memory, goroutines, files and disk end where they began (DURATION, RATE)
	@DURATION='$(DURATION)' RATE='$(RATE)' scripts/soak.sh

bench: ## Measure what it costs, beside recorders on LiveKit's Go and Node SDKs (about 45 minutes; COMPARE=file of an earlier run)
	@scripts/bench.sh $(if $(COMPARE),-compare '$(COMPARE)')

bench-quick: ## The same in five minutes: one shorter run of each case, none of a thousand rooms, no peers
	@scripts/bench.sh -quick $(if $(COMPARE),-compare '$(COMPARE)')

clean: ## Remove build/bin and the test cache
	@scripts/clean.sh
