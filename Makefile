# make check is the whole gate. It needs no network once the tools' modules are
# in the module cache.

GO        ?= go
TOOL       = $(GO) tool -modfile=tools/go.mod
# tools has no code of its own; each other nested module is checked like the root.
MODULES   := $(sort $(dir $(shell find . -name go.mod -not -path './tools/*' -not -path '*/testdata/*' -not -path '*/.*/*')))
PLATFORMS  = linux/amd64 linux/arm64 darwin/arm64 windows/amd64
# What the other stores' drivers import takes minutes to compile: they are vetted
# for this platform alone. make vet HEAVY= vets them for all.
HEAVY     ?= ./bench/peers/
HOST      := $(shell $(GO) env GOHOSTOS)/$(shell $(GO) env GOHOSTARCH)

.PHONY: check format vet fix staticcheck lint race test bench ratios
check: format vet fix staticcheck lint race

test: ## the README's test command
	$(GO) test ./...

format: ## every file as gofumpt leaves it
	@echo gofumpt
	@unformatted=$$($(TOOL) gofumpt -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted; run: go tool -modfile=tools/go.mod gofumpt -w ."; echo "$$unformatted"; exit 1; fi

vet: ## the code and tests of every platform compile and vet, without cgo
	@set -e; for m in $(MODULES); do \
		platforms="$(PLATFORMS)"; if [ "$$m" = "$(HEAVY)" ]; then platforms=$(HOST); fi; \
		for p in $$platforms; do \
		echo "go vet $$p $$m"; \
		(cd $$m && CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./...); done; done

fix: ## nothing that go fix would modernise
	@set -e; for m in $(MODULES); do echo "go fix -diff $$m"; (cd $$m && CGO_ENABLED=0 $(GO) fix -diff ./...); done

staticcheck:
	@set -e; for m in $(MODULES); do echo "staticcheck $$m"; \
		(cd $$m && CGO_ENABLED=0 $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...); done

lint:
	@set -e; for m in $(MODULES); do echo "golangci-lint $$m"; \
		(cd $$m && CGO_ENABLED=0 $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

race: ## all tests; the sweeps, which run elsewhere in full, take a sample
	@set -e; for m in $(MODULES); do echo "go test -race $$m"; (cd $$m && CGO_ENABLED=1 $(GO) test -race -short ./...); done

bench: ## every workload, ours beside the limit: minutes
	$(GO) test ./bench -run '^$$' -bench .

ratios: ## durable appends as ratios to the limit: minutes
	$(GO) test ./bench -run TestRatios -ratios -v -timeout 30m
