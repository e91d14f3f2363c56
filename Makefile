# An index of targets; the work is done in scripts/.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-short race e2e lint fmt fuzz torture soak bench \
  bench-quick bench-udp pictures clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: ## Install missing Debian packages (as root or with sudo); starts no service
	@scripts/setup.sh test

build: ## Build textegress and the development servers into build/bin
	@scripts/build.sh

demo: ## Record a class of 20 seconds on real servers (PLATFORM=livekit: without SyncFlow)
	@PLATFORM='$(PLATFORM)' scripts/demo.sh

test: ## All tests: unit tests with the race detector, then end to end on real servers
	@scripts/test.sh

test-short: ## Unit tests only, without the race detector: for the inner loop
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

torture: ## Half an hour of kills, freezes, cuts, full disks (SEED, KILLS, DURATION, ONLY)
	@SEED='$(SEED)' KILLS='$(KILLS)' DURATION='$(DURATION)' ONLY='$(ONLY)' scripts/torture.sh

soak: ## Sessions start and end for 30 minutes; fails if anything grew (DURATION, RATE)
	@DURATION='$(DURATION)' RATE='$(RATE)' scripts/soak.sh

bench: ## Measure the cost, beside LiveKit's own SDKs (45 minutes; COMPARE=earlier run)
	@scripts/bench.sh $(if $(COMPARE),-compare '$(COMPARE)')

bench-quick: ## The same in five minutes: shorter runs, no case of a thousand rooms, no peers
	@scripts/bench.sh -quick $(if $(COMPARE),-compare '$(COMPARE)')

bench-udp: ## Compare ways of reading from the network: CPU, memory, error of times (ROUNDS)
	@CGO_ENABLED=0 go test ./internal/room/rtc -run '^TestReception$$' -reception \
		-rounds $(or $(ROUNDS),3) -count=1 -timeout 3h -v

pictures: ## Take the pictures of the README anew, as tests see what they show
	@cd test && PICTURES='$(CURDIR)/docs' go test -count=1 -run '^TestPicture' ./reporttest ./pagetest

clean: ## Remove what was built, and the test cache
	@scripts/clean.sh
