SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

# How long `make fuzz` runs each fuzz target.
FUZZTIME ?= 2m
# The build tags and the setting of cgo of Caddy's own releases.
RELEASE_TAGS := nobadger,nomysql,nopgx
# The race detector. SQLite, which is C that was translated to Go, and the C
# library beneath it are left out: they would take seven times the processor.
TRANSLATED := modernc.org/sqlite/lib modernc.org/libc modernc.org/memory
RACE := -race $(foreach package,$(TRANSLATED),-gcflags=$(package)=-race=false)
# The tests of caddymodule for which it matters whether there is cgo, which releases
# do without: names of hosts and users, files, processes, SQLite, a whole Caddy.
WITHOUT_CGO := ^Test(Example|KeyFile|Unusable|Unreach|StartErrors|Resolv|Way|Through|NetworkProxy|NameThat|AdminToken|Kubernetes|CommandGives|Memory|NobodyAttaches|Reload|VerbsFind|Heal)
LINT := $(CURDIR)/bin/golangci-lint
# The version of `make release`; empty: the tag of the commit, or a pseudo-version.
VERSION ?=

.PHONY: build release image reproducible console sdks test test-servers fuzz soak bench alerts lint fmt clean

## build: bin/caddy, with the standard modules and this plugin
build:
	CGO_ENABLED=0 go build -trimpath -tags $(RELEASE_TAGS) -o bin/caddy ./cmd/xcaddy-build

## release: programs, archives, packages, the image, SBOMs and checksums for every system, in dist/
# The builder is a module of its own, so that nobody who imports the plugin gets
# its dependencies. From nothing it takes about 20 minutes of processor time.
release:
	cd tools/release
	go run . -root ../.. -out ../../dist -tags $(RELEASE_TAGS) -version "$(VERSION)"

## image: only the image for containers, for amd64 and arm64; empties dist/ first
# No container engine is needed. `make release` makes the same file.
image:
	cd tools/release
	go run . -root ../.. -out ../../dist -tags $(RELEASE_TAGS) -version "$(VERSION)" -targets linux/amd64,linux/arm64 -image

## reproducible: the modules are what go.sum says, and two builds have the same bytes
reproducible:
	go mod verify
	(cd test && go mod verify)
	(cd test/sdks && go mod verify)
	(cd tools/release && go mod verify)
	RELEASE_TAGS=$(RELEASE_TAGS) scripts/reproducible

## console: builds the console (console/), compares it with what is committed, and
## runs its tests in Chromium; UPDATE=1 replaces what is committed
console:
	UPDATE=$(UPDATE) scripts/console

## sdks: runs the programs of docs/sdks.md with the real SDKs, which test/sdks has
sdks:
	scripts/sdks

## test: everything, on real servers, with the race detector
# With RAPID_SEED random histories and values are the same ones each time: a
# change does not fail by what is rare, which `make soak` looks for. The time is
# for a slow machine; what hangs ends with it, and says where.
# -count=1 where the binary is what is tested: go test does not see that its
# sources changed, and would take the last result.
# -vet=off: `make lint` does what vet does, and more.
# -parallel: those tests wait for claims to run out more than they compute.
test: test-servers
	RAPID_SEED=1 go test $(RACE) -vet=off -timeout 40m ./...
	(cd test && go test $(RACE) -vet=off -count=1 -parallel 8 -timeout 40m ./...)
	CGO_ENABLED=0 go test -vet=off -timeout 40m -tags $(RELEASE_TAGS) -run '$(WITHOUT_CGO)' ./caddymodule
	(cd tools/release && go test -count=1 -timeout 40m ./...)
	FUZZTIME=2s scripts/fuzz

test-servers:
	scripts/install-test-servers

## fuzz: every fuzz target for FUZZTIME
fuzz:
	FUZZTIME=$(FUZZTIME) scripts/fuzz

## soak: the long runs in full, and everything again in another order
soak: test-servers
	RELOADS=1000 go test -count=1 -timeout 2h -v -run Reload ./caddymodule
	# The figures of docs/reliability.md, which the tests print: at each of nine
	# points 50 kills of each kind of provider on each store, and so on.
	(cd test && KILL_ROUNDS=100 KILLS=50 AUTHORIZE_KILLS=20 RANDOM_KILLS=2000 EXPIRIES=500 HEARD=1000 REVOKED=10000 RELOADS=1200 STOPS=1000 DATABASE_FAULTS=300 \
		INSTANCES=40 EDGE_KEYS=10000 BURST=10000 BURST_CONNECTIONS=300 FREEZES=3 FROZEN_SECONDS=180 \
		go test $(RACE) -count=1 -timeout 4h -v .)
	MODEL_CHECKS=50000 go test -count=1 -timeout 2h -run 'TestProtocol|TestAuthorizations' ./internal/broker
	MUTANTS=all go test -count=1 -timeout 2h -v -run TestMutants ./internal/broker
	MATCHER_CHECKS=10000000 go test -count=1 -timeout 2h -v -run TestDecideAgreesWithTheModel ./internal/access
	for target in FuzzFormBody FuzzJSONBody FuzzPath; do
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime 10000000x -timeout 6h ./internal/inject
	done
	go test -run '^$$' -fuzz '^FuzzShortcut$$' -fuzztime 10000000x -timeout 12h ./internal/shortcut
	(cd tools/release && RELEASE_TARGETS=all go test -count=1 -timeout 4h -v ./...)
	go test $(RACE) -count=10 -shuffle=on -timeout 2h ./...
	FUZZTIME=2m scripts/fuzz

## bench: all that docs/benchmarks.md says, in less than an hour on an idle machine;
## it waits until the machine is idle
bench:
	scripts/install-test-servers wrk
	[[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]] || scripts/install-packages nginx libnginx-mod-http-lua
	mkdir -p docs
	(cd test && go run ./bench -out ../docs/benchmarks.md)

## alerts: what the alerts of deploy/prometheus fire for, tested with promtool
# remove_all_sd: without the clients of clouds, which test rules do not need.
alerts:
	(cd tools/promtool && go build -tags remove_all_sd,slicelabels -o ../../bin/promtool tool)
	cd deploy/prometheus
	../../bin/promtool check rules alerts.yml
	../../bin/promtool test rules alerts_test.yml

## lint: all modules
lint: $(LINT)
	$(LINT) run --allow-serial-runners --concurrency 2 ./...
	(cd test && $(LINT) run --allow-serial-runners --concurrency 2 ./...)
	(cd test/sdks && $(LINT) run --allow-serial-runners --concurrency 2 ./...)
	(cd tools/release && $(LINT) run --allow-serial-runners --concurrency 2 ./...)

## fmt: the form that lint wants
fmt: $(LINT)
	$(LINT) fmt ./...
	(cd test && $(LINT) fmt ./...)
	(cd test/sdks && $(LINT) fmt ./...)
	(cd tools/release && $(LINT) fmt ./...)

# The linters have a module of their own, so that nobody who imports the
# plugin gets their dependencies.
$(LINT): tools/go.mod tools/go.sum
	cd tools
	go build -o ../bin/ tool

## clean: removes what the other targets built
clean:
	rm -rf bin dist
