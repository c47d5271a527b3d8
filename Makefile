# Cellblock's habits. `make` before each commit; `make test` is everything, from a bare Debian machine on.

GOTAGS  := remote containers_image_openpgp exclude_graphdriver_btrfs exclude_graphdriver_devicemapper
GO      := go
BIN     := bin/cellblock
# The test instance: its own user, storage and directories, beside an installed one.
TEST_INSTANCE ?= cellblock-test

.PHONY: all build fmt vet lint unit integration e2e test bench fuzz clean help

all: fmt vet lint unit ## format, vet, staticcheck, unit tests

help: ## this text
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the binary, static
	CGO_ENABLED=0 $(GO) build -trimpath -tags "$(GOTAGS)" -o $(BIN) ./cmd/cellblock

fmt: ## fails when a file is not gofmt'ed
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt -w these:"; echo "$$out"; exit 1; }

vet:
	$(GO) vet -tags "$(GOTAGS)" ./...

lint: ## staticcheck, at the version in go.mod
	$(GO) tool staticcheck -tags "$(GOTAGS)" ./...

unit: ## unit tests with the race detector
	$(GO) test -race -tags "$(GOTAGS)" ./...
