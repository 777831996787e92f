# The commands of this repository. `make test` is what a fresh machine runs; the rest is for those who change something.

TOOLS := $(CURDIR)/.cache/bin
GOFUMPT := v0.12.0
STATICCHECK := v0.8.2
GREMLINS := v0.6.0
FUZZTIME ?= 30s
SOAK ?= 10m
REPORT ?= $(CURDIR)/.cache/conformance

.PHONY: run test check nightly templates soak outages deployment installation release conformance fuzz mutants bench bench-peers bench-tls bench-machines bench-handoff bench-tuning million million-tls exports configuration metrics offers recording tools

# Serve on :8080 with a worker per core.
run:
	go run ./cmd/expedite serve

# All tests. Installs what they need from the distribution when it is missing.
test:
	scripts/test-tools
	go test -count=1 -timeout 15m ./...
	cd benchmarks && go vet ./...

# What has to pass before a change is offered: format, vet, lint, cross builds, and the tests with the race detector.
# The race detector needs a C compiler.
check: tools
	scripts/test-tools
	@unformatted=$$($(TOOLS)/gofumpt -l .) || exit 1; \
		test -z "$$unformatted" || { echo "gofumpt wants to change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(TOOLS)/staticcheck ./...
	GOOS=darwin go build ./...
	GOOS=darwin go vet ./...
	GOOS=windows go build ./...
	go test -count=1 -timeout 20m -race -shuffle=on ./...
	cd benchmarks && go vet ./...

# A mark per version: another version is installed over the one that is there.
tools: $(TOOLS)/.gofumpt-$(GOFUMPT) $(TOOLS)/.staticcheck-$(STATICCHECK) $(TOOLS)/.gremlins-$(GREMLINS)

$(TOOLS)/.gofumpt-$(GOFUMPT):
	GOBIN=$(TOOLS) go install mvdan.cc/gofumpt@$(GOFUMPT)
	@touch $@

$(TOOLS)/.staticcheck-$(STATICCHECK):
	GOBIN=$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)
	@touch $@

$(TOOLS)/.gremlins-$(GREMLINS):
	GOBIN=$(TOOLS) go install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS)
	@touch $@

# What takes longer than a change should wait for.
nightly: check
	$(MAKE) soak
	$(MAKE) soak SOAK_TLS=true
	$(MAKE) outages
	$(MAKE) deployment
	$(MAKE) templates
	$(MAKE) installation
	$(MAKE) conformance
	$(MAKE) fuzz
	$(MAKE) mutants
	$(MAKE) million N=50000

# Reloads, scales and rebalances for SOAK, under a crowd of clients that checks every byte. SOAK_TLS=true is with TLS and
# compression.
SOAK_TLS ?= false
soak:
	go test -count=1 -timeout 24h -run TestSoak -v ./internal/traffic -soak $(SOAK) -soak-tls=$(SOAK_TLS)

# Every way in which Redis, or the way to it, can fail while machines talk. `make test` has some of them.
outages:
	scripts/test-tools
	go test -count=1 -timeout 20m -run 'TestOutages|TestMembersInOutages' -v ./cmd/expedite -outages

# A project of each template of `expedite new`, in an empty folder: it builds, its tests pass, and its page works. `make
# test` makes the first one. SHOTS is a folder for screenshots of the pages.
SHOTS ?=
templates:
	scripts/test-tools
	go test -count=1 -timeout 20m -run TestTemplates -v ./cmd/expedite -templates -screenshots '$(SHOTS)'

# The files of deploy/: the image's content, run without Docker; compose.yaml by the rules of Compose; the files of
# Kubernetes by the types of its API, and the container that they describe; HAProxy with two servers.
COMPOSE_GO := v2.16.2
deployment:
	scripts/test-tools
	go run github.com/compose-spec/compose-go/v2/cmd@$(COMPOSE_GO) deploy/compose.yaml >/dev/null
	cd scripts/manifests && go vet ./... && go test ./... && go run . ../../deploy/kubernetes
	go test -count=1 -timeout 20m -run 'TestImage|TestDeployment' -v ./cmd/expedite -image

# Installs the command, and builds the program of README, through a module proxy that has what is here as a release.
installation:
	go test -count=1 -timeout 20m -run TestInstall -v ./scripts/release -install

# The archives of a release and their checksums, in dist. CONTRIBUTING.md has the steps.
release:
	go run ./scripts/release

# Every rule of the RFCs in every combination. The report is in REPORT. `make test` runs each case once.
conformance:
	go test -count=1 -timeout 20m -run TestConformance ./internal/conformance -everything -report $(REPORT)
	cd benchmarks && go test -count=1 -run TestConformanceFindsFaults . # a negative control: a server with known faults
	@sed -n 3p $(REPORT)/conformance.md
	@echo "report: $(REPORT)/conformance.md"

# Each fuzz target for FUZZTIME; a table at the end. MATCH selects targets by package and name.
MATCH ?=
fuzz:
	go run ./scripts/fuzz -time $(FUZZTIME) -match '$(MATCH)'

# Changes one operator after the other in the packages that must be right, and expects a test to fail. PKG selects
# packages, and MATCH mutants by file, function and line.
PKG ?= internal/handoff internal/topic internal/wheel internal/broker internal/route internal/proxyproto \
	internal/forwarded ws ws/deflate auth
mutants: $(TOOLS)/.gremlins-$(GREMLINS)
	go run ./scripts/mutants -match '$(MATCH)' $(PKG)

# The reference page of the settings and the JSON Schema of expedite.yaml, from internal/settings.
configuration:
	go test -count=1 -run TestReference ./internal/settings -update

# The tables of docs/metrics.md, from internal/telemetry.
metrics:
	UPDATE_GOLDEN=1 go test -count=1 -run TestReference ./internal/telemetry

# The table of what TLS offers in docs/tls.md, as servers answer.
offers:
	UPDATE_GOLDEN=1 go test -count=1 -run TestOffers ./cmd/expedite

# The recording in README: a real server and its clients, which the port 8080 is needed for. Linux only.
recording:
	go run ./scripts/recording

# How many names each public package exports.
exports:
	@go run ./scripts/exports

# The benchmarks of the packages.
bench:
	go test -run '^$$' -bench . ./...

# Expedite beside other servers, in the same minutes on the same cores, and beside BEFORE, the program of an earlier build
# (go build in benchmarks, at that commit).
BEFORE ?=
bench-peers:
	cd benchmarks && go run . -before "$(BEFORE)"

# The same over TLS: echoes, memory of idle connections, handshakes beside a bare crypto/tls server, and a crowd of them.
bench-tls:
	cd benchmarks && go run . tls

# Two machines with the same Redis: Expedite beside centrifuge and Socket.IO, which npm installs once.
bench-machines:
	cd benchmarks && go run . machines -npm $(CURDIR)/.cache/socket.io

# A million connections on this machine, both ends: open, identified, with sessions; published to, moved, closed. N is how
# many; only a whole million is written down.
N ?= 1000000
million:
	cd benchmarks && go run . million -n $(N) $(if $(filter 1000000,$(N)),-o ../docs/million.md)

# 200,000 connections with TLS on this machine, both ends: open, published to, moved. N is how many.
million-tls:
	cd benchmarks && go run . million -tls -n $(if $(filter 1000000,$(N)),200000,$(N))

# Live connections that move between workers, plain and with TLS: how many per second, what the others notice.
bench-handoff:
	cd benchmarks && go run . handoff
	cd benchmarks && go run . handoff -tls

# What the settings of docs/tuning.md do. Its part "ram" makes a cgroup, and wants the right to.
bench-tuning:
	cd benchmarks && go run . tuning
