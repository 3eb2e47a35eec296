# Everything a contributor runs. `make` lists the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
SHELL   := /bin/bash

# Tests of the engine that the race detector makes ten times slower: test-race has them with it.
SLOW_UNDER_RACE := ^TestReplicas$$|^TestScheduleYear$$/^sqlite$$

.DEFAULT_GOAL := help
.PHONY: help test test-short test-race test-docker test-crash test-replicas test-image check setup build bench fuzz image

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: setup check ## everything CI runs, on real servers: linters, packages with the race detector, stories without (see test-race)
	OPSBOT_TEST_ENGINE=0 .ci/with-postgres $(GO) test -race -skip '$(SLOW_UNDER_RACE)' -timeout 30m -parallel 10 $$($(GO) list ./... | grep -v -e /runbooks/trial -e /cmd/opsbot)
	.ci/with-postgres $(GO) test -run '$(SLOW_UNDER_RACE)' ./runbooks/engine
	OPSBOT_TEST_ENGINE=0 .ci/with-postgres $(GO) test -timeout 30m -parallel 14 ./runbooks/trial ./cmd/opsbot
	.ci/docker-tests

test-short: ## what needs no server: minutes, anywhere Go runs
	$(GO) test -short -parallel 10 ./...

test-race: ## the stories of cmd/opsbot, the replicas and a year on SQLite, with the race detector; `make test` has all else with it
	OPSBOT_TEST_ENGINE=0 .ci/with-postgres $(GO) test -race -timeout 40m -parallel 6 ./cmd/opsbot
	.ci/with-postgres $(GO) test -race -run '$(SLOW_UNDER_RACE)' ./runbooks/engine

test-docker: setup ## every test on Docker and Compose: builds the Compose plugin the first time (minutes, cached)
	.ci/compose
	OPSBOT_TEST_DOCKER=1 .ci/docker-tests

test-crash: ## kill -9 at every boundary of a run, on both databases; `make test` has each boundary on one of them
	OPSBOT_TEST_CRASHES=all .ci/with-postgres $(GO) test -run '^TestKill' -v -timeout 30m -parallel 10 ./cmd/opsbot

test-replicas: ## 500 runs through replicas that are killed, frozen and cut off: minutes, and the figures
	OPSBOT_TEST_REPLICA_RUNS=500 .ci/with-postgres $(GO) test -run '^TestReplicas$$' -v -timeout 30m ./runbooks/engine

test-image: ## build the container image on a local base, start it, health-check it (root, minutes)
	.ci/image-test

check: ## gofmt, vet and staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "not gofmt-ed: $$files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

setup: ## install what the tests need (Debian or Ubuntu as root); elsewhere say what is missing
	.ci/setup

build: ## bin/opsbot, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/opsbot ./cmd/opsbot

bench: ## every benchmark; docs/benchmarks/README.md explains the figures
	.ci/with-postgres $(GO) test -run '^$$' -bench . -benchmem ./...

FUZZTIME ?= 30s
fuzz: ## each fuzz test for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

image: ## the container image; BUILD_IMAGE names the base to build on
	docker build $(if $(BUILD_IMAGE),--build-arg BUILD_IMAGE=$(BUILD_IMAGE)) --build-arg VERSION=$(VERSION) -t opsbot .
