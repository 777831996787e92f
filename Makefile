# The commands of this repository. `make test` is what a fresh machine runs; the rest is for those who change something.

GOBIN := $(CURDIR)/.cache/bin
FUZZTIME ?= 30s
export PATH := $(GOBIN):$(PATH)

.PHONY: run test check fuzz bench bench-peers tools

# Serve on :8080 with a worker per core.
run:
	go run ./cmd/expedite serve

# All tests. Installs what they need from the distribution when it is missing.
test:
	scripts/test-tools
	go test -count=1 -timeout 9m ./...
	cd benchmarks && go vet ./...

# What has to pass before a change is offered: format, vet, lint, cross builds, and the tests with the race detector.
check: tools
	scripts/test-tools
	@unformatted=$$(gofumpt -l .); test -z "$$unformatted" || { echo "gofumpt wants to change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	staticcheck ./...
	GOOS=darwin go vet ./...
	GOOS=windows go build ./...
	go test -count=1 -timeout 20m -race -shuffle=on ./...
	cd benchmarks && go vet ./...

tools:
	@mkdir -p $(GOBIN)
	@test -x $(GOBIN)/gofumpt || GOBIN=$(GOBIN) go install mvdan.cc/gofumpt@v0.12.0
	@test -x $(GOBIN)/staticcheck || GOBIN=$(GOBIN) go install honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Each fuzz target for FUZZTIME.
fuzz:
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# The benchmarks of the packages.
bench:
	go test -run '^$$' -bench . ./...

# Expedite beside other servers, in the same minutes on the same cores.
bench-peers:
	cd benchmarks && go run .
