# Cellblock's habits. `make` before each commit; `make test` is everything, from a bare Debian machine on (as root).

# Without these the Podman bindings do not compile, or want C libraries.
GOTAGS  := $(shell cat deploy/gotags)
GO      ?= go
BIN     := bin/cellblock
# The test instance has a user, storage and directories of its own, beside an installed one.
INSTANCE ?= cellblock-test
SOAK     ?= 1h
FUZZTIME ?= 5s
# e2e/setup puts a current Node there where the machine's is too old.
export PATH := $(or $(E2E_CACHE),/var/cache/cellblock-e2e)/node/bin:$(PATH)

.PHONY: all help build fmt vet lint unit prepare integration clients web e2e soak test bench microbench fuzz clean

all: fmt vet lint unit ## format, vet, staticcheck, unit tests

help: ## this text
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the binaries, static, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -tags "$(GOTAGS)" -o $(dir $(BIN)) ./cmd/cellblock ./cmd/cellblock-shim

fmt: ## fails when a file is not gofmt'ed
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "run gofmt -w on:"; echo "$$out"; exit 1; }

vet: ## go vet, with every build tag
	$(GO) vet -tags "$(GOTAGS) integration e2e" ./...

lint: ## staticcheck, at the version in go.mod
	$(GO) tool staticcheck -tags "$(GOTAGS) integration e2e" ./...

unit: ## unit tests with the race detector
	$(GO) test -race -tags "$(GOTAGS)" ./...

prepare: ## the test instance: user, images, program (as root)
	deploy/up --instance $(INSTANCE) --prepare

integration: prepare ## the launcher on real rootless Podman (as root)
	TEST_INSTANCE=$(INSTANCE) containers/integration.sh

clients: ## Node, Chromium and the Jupyter clients of the tests (as root)
	e2e/setup

web: clients ## the page's unit tests, types and build
	cd web && npm ci --no-audit --no-fund && npm test && npm run check

e2e: prepare clients build ## real clients against a real gateway (as root)
	E2E_CELLBLOCK=$(CURDIR)/$(BIN) E2E_INSTANCE=$(INSTANCE) $(GO) test -tags "e2e $(GOTAGS)" -count=1 -v -timeout 20m ./e2e/...

soak: prepare build ## everything that misbehaves, for SOAK=1h: nothing may leak (as root); make e2e has it for seconds
	E2E_SOAK=$(SOAK) E2E_CELLBLOCK=$(CURDIR)/$(BIN) E2E_INSTANCE=$(INSTANCE) \
		$(GO) test -tags "e2e $(GOTAGS)" -count=1 -v -timeout 0 -run '^TestSoak$$' ./e2e

test: prepare all integration web e2e ## all of it; sets up what it needs (as root)
	$(MAKE) fuzz FUZZTIME=2s

bench: prepare ## speed beside direct ZeroMQ and other gateways, in one run (as root); QUICK=1, ONLY='loss|output'
	bench/setup $(INSTANCE) $(if $(QUICK),--quick)
	$(GO) build -o bin/bench/bench ./bench
	bin/bench/bench -instance $(INSTANCE) -cache $(or $(BENCH_CACHE),/var/cache/cellblock-bench) $(if $(QUICK),-quick -others=false,$(if $(ONLY),,-out bench/RESULTS.md)) -only '$(ONLY)'

microbench: ## Go benchmarks of the bridge
	$(GO) test -run '^$$' -bench . -benchtime 3s ./kernels/bridge

fuzz: ## each fuzz target for FUZZTIME
	@for p in ./kernels/wire ./kernels/bridge ./gateway ./auth ./launcher ./egress ./internal/prove; do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

clean:
	rm -rf bin e2e/artefacts
