# Building, demonstrating and testing need nothing but Go and make; `make help` lists what there is.

GO        ?= go
TESTFLAGS ?=
BENCH     ?=
# A count, as a duration may end in "context deadline exceeded" without a finding (go.dev/issue/75804, mended in Go 1.27).
FUZZTIME  ?= 20000x
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# The race detector needs cgo and a C compiler; `make test RACE=` does without it.
RACE      ?= $(shell test "$$($(GO) env CGO_ENABLED)" = 1 && command -v "$$($(GO) env CC)" >/dev/null && echo -race)

# Each example and the exit code that it ends with.
EXAMPLES := \
	0=examples/fizzbuzz/game-day.chaos \
	0=examples/nginx/fizzbuzz-nginx.chaos \
	0=examples/slo/slo.chaos \
	1=examples/killer-while/killer-while.chaos \
	1=examples/noisy-neighbour/noisy.chaos \
	0=examples/noisy-neighbour/limited.chaos \
	1=examples/slow-disk/slow-disk.chaos \
	0=examples/why-slow/why-slow.chaos \
	1=examples/who-killed-me/who-killed-me.chaos \
	0=examples/exit-codes/0-held.chaos \
	1=examples/exit-codes/1-refuted.chaos \
	2=examples/exit-codes/2-not-fit.chaos \
	3=examples/exit-codes/3-unsteady.chaos \
	4=examples/exit-codes/4-aborted.chaos \
	5=examples/exit-codes/5-inconclusive.chaos \
	6=examples/exit-codes/6-not-restored.chaos

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help build fizzbuzz demo examples reference lint test pure fuzz bench soak ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

build: ## bin/chaos, static, the default
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/chaos ./cmd/chaos
	@echo "built bin/chaos $(VERSION)"

fizzbuzz: ## the system under test of the game day
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o examples/fizzbuzz/bin/fizzbuzz ./examples/fizzbuzz/fizzbuzz
	@echo "built examples/fizzbuzz/bin/fizzbuzz"

demo: build fizzbuzz ## the game day: a load balancer hides a dying worker
	bin/chaos script examples/fizzbuzz/game-day.chaos

examples: build fizzbuzz ## every example, its exit code compared (nginx, python3, bc, sqlite3 and prometheus needed, and root)
	@failed=0; for example in $(EXAMPLES); do \
		want=$${example%%=*}; script=$${example#*=}; \
		output=$$(bin/chaos script "$$script" 2>&1 </dev/null) && got=0 || got=$$?; \
		if [ "$$got" = "$$want" ]; then \
			echo "exit code $$got as expected: $$script"; \
		else \
			failed=1; printf '%s\n' "$$output"; \
			echo "exit code $$got instead of $$want: $$script"; \
		fi; \
	done; exit $$failed

reference: build ## docs/reference, from the registries
	@bin/chaos doc --out docs/reference

lint: ## gofmt and go vet
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...

# One package at a time: several of them measure time, and two cores are soon busy.
test: lint build fizzbuzz ## lint and all tests, with the race detector where a C compiler is
	$(GO) test $(RACE) -p 1 -timeout 30m $(TESTFLAGS) ./...

# The race detector links in C and with it another start of processes and threads: a deadlock of the binary that is shipped
# was hidden by it once.
pure: ## what starts helpers and guardians, as it is shipped: without C and the race detector
	CGO_ENABLED=0 $(GO) test -p 1 -timeout 10m $(TESTFLAGS) ./runtime/hold ./runtime/recovery
	CGO_ENABLED=0 $(GO) test -p 1 -timeout 10m $(TESTFLAGS) ./cmd/chaos -run 'TestCrashMatrix|Guardian' -draws=20

fuzz: ## each fuzz target for FUZZTIME
	@grep -rlE --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			echo "$(GO) test -run '^$$' -fuzz '^$$target\$$' -fuzztime $(FUZZTIME) $${file%/*}"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null || exit 1; \
		done; \
	done

bench: build ## chaos beside its peers, one table; BENCH=http for the rows with that word
	$(GO) run ./cmd/bench -only '$(BENCH)'

soak: ## 500 draws of the crash matrix
	$(GO) test ./cmd/chaos -run TestCrashMatrix -count=1 -timeout 60m -draws=500

ci: test pure fuzz examples ## what .ci/run calls

clean: ## remove what was built and what the examples left
	rm -rf bin examples/fizzbuzz/bin examples/nginx/temp examples/nginx/nginx.pid examples/slo/data
