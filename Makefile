SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help
export CGO_ENABLED ?= 0

TOOL := go tool -modfile=hack/tools/go.mod
STACK := go run -C hack/stack .
CHART := charts/rocketmq-connect-operator
HELM ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rocketmq-connect/bin/helm
TEST_TIMEOUT ?= 20m

##@ Try it
demo: ## Half a minute of three workers, a RocketMQ and a Kafka in one program: one is killed, no record may be missing (with keys: go run ./cmd/demo)
	go run ./cmd/demo -for 20s -kill-after 8s
.PHONY: demo
quickstart: ## Bring up RocketMQ, Kafka and Kubernetes here, install the operator, move a million records both ways, kill workers
	$(STACK) up
	$(MAKE) --no-print-directory load-image
	eval "$$($(STACK) env)"; go run ./test/quickstart -kafka "$$KAFKA_BOOTSTRAP" -name-server "$$RMQ_NAMESRV"
quickstart-down: ## Take down all that quickstart brought up
	$(STACK) down
.PHONY: quickstart quickstart-down

stack-up: ## Bring up RocketMQ, Kafka and Kubernetes only (ONLY=rocketmq,kafka for the brokers alone)
	$(STACK) up $(if $(ONLY),--only $(ONLY))
stack-status: ## Show what of the local stack runs, and where
	$(STACK) status
stack-down: ## Take the local stack down; nothing is left behind
	$(STACK) down
.PHONY: stack-up stack-status stack-down

##@ Develop
generate: ## Write everything that is generated: deepcopy, CRDs, the chart's CRDs, the tables of the documents
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen crd:crdVersions=v1 paths=./api/... output:crd:dir=config/crd
	go run ./hack/chartcrds config/crd $(CHART)/templates/crds
	go run ./hack/configdocs
fmt: ## Format all Go files
	$(TOOL) golangci-lint fmt ./...
	cd hack/stack && go tool -modfile=../tools/go.mod golangci-lint fmt ./...
lint: lint-chart ## Lint, and check the house numbers
	$(TOOL) golangci-lint run ./...
	cd hack/stack && go tool -modfile=../tools/go.mod golangci-lint run -c ../../.golangci.yml ./...
	go run ./hack/house
lint-chart: ## Lint the Helm chart, if the local stack's helm is built
	@if [ -x "$(HELM)" ]; then "$(HELM)" lint --strict $(CHART); else echo "lint-chart: left out, there is no $(HELM)"; fi
tidy: ## Tidy the module and the stack's (that of the tools only pins them)
	go mod tidy
	cd hack/stack && go mod tidy
build: ## Build both binaries into bin/
	go build -trimpath -ldflags="-s -w" -o bin/ ./cmd/operator ./cmd/worker
.PHONY: generate fmt lint lint-chart tidy build

##@ Check
verify: generate fmt tidy verify-modules lint ## Generated files fresh, formatted, linted, within the house numbers, modules as go.sum has them, tree clean
	@git diff --exit-code || { echo "verify: the files above are not fresh: run 'make generate fmt tidy' and commit the result"; exit 1; }
	@left=$$(git ls-files -o --exclude-standard); test -z "$$left" || { echo "verify: untracked files: $$left"; exit 1; }
verify-modules: ## Compare the modules on this machine with the checksums of the three go.sum files
	go mod verify
	cd hack/stack && go mod verify
	go mod verify -modfile=hack/tools/go.mod
.PHONY: verify-modules
test: test-unit test-browser test-integration test-failover ## Unit, simulation, envtest and integration tests, on several brokers too, with the race detector
# -cpu=1: with more, the race detector itself crashes in synctest bubbles (go.dev/issue/78156); it needs no second core to see a race
test-unit: ## Unit and simulation tests, and the controllers on a real API server
	KUBEBUILDER_ASSETS="$$($(STACK) assets)" CGO_ENABLED=1 go test -race -cpu=1 -shuffle=on -timeout $(TEST_TIMEOUT) -tags envtest ./api/... ./charts/... ./cmd/... ./config/... ./controllers/... ./hack/... ./worker/... ./test/audit/... ./test/bench/... ./test/chaos/... ./test/flow/... ./test/hostile/... ./test/metrics/... ./test/process/...
	go test -count=1 -timeout $(TEST_TIMEOUT) ./test/simulation # 1,000 seeds, and the planted bugs; nothing in it runs concurrently
	go test -count=1 -timeout $(TEST_TIMEOUT) ./test/security # what it sends is large: with the race detector it takes minutes
	cd hack/stack && go test ./...
test-browser: ## A page of another origin in a headless Chromium, which is installed on Debian if it is missing, against a worker
	hack/browser.sh go test -count=1 -timeout $(TEST_TIMEOUT) -tags browser -run Browser ./test/security
.PHONY: test-browser
test-integration: ## Tests on a real RocketMQ and Kafka, which are started and stopped
	hack/with-brokers.sh env CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) -count=1 -tags integration ./test/integration/...
test-failover: ## Tests on two masters that are restarted in turn, and on a master whose replicas take over, each with brokers of its own
	TOPOLOGY="masters controller" hack/topologies.sh
test-topologies: ## Tests on masters, a controller, a replicated pair and a proxy (TOPOLOGY="proxy" for some alone, PORT_BASE=22000)
	hack/topologies.sh
.PHONY: test-failover test-topologies
test-rocketmq-versions: ## The RocketMQ suite on 5.3.3 and 4.9.7, with and without access control and TLS, on brokers of its own
	hack/rmq-matrix.sh
.PHONY: test-rocketmq-versions
e2e: ## The whole of it on a real Kubernetes: chart, samples, 50,000 records, pause, scale, delete, upgrade, uninstall
	hack/e2e.sh
bench: ## Measure the worker next to bare loops and MirrorMaker 2 on a real RocketMQ and Kafka (BENCH="-runs 3 -parts source,sink")
	hack/with-brokers.sh go run ./test/bench $(BENCH)
.PHONY: verify test test-unit test-integration e2e bench

##@ Prove
SEEDS ?= 20000
SEED_FROM ?= 0
simulate: ## Simulate SEEDS=20000 whole clusters from seed SEED_FROM=0 on: crashes, freezes, cuts, slow and lossy brokers, config changes, scaling
	SIM_SEEDS=$(SEEDS) SIM_FROM=$(SEED_FROM) go test -count=1 -timeout 24h -v -run '^TestSimulation$$' ./test/simulation
model: ## Search a model of join, heartbeat, expire, claim and release with spin, as it is and with rules taken out
	hack/model.sh -v
chaos: ## Break workers, networks, stores and brokers while records flow: ROUNDS=19 SEED=1 FROM=0 (the first round) OUT=file (results, for -merge) TOPOLOGY=single (or masters, replicated, controller)
	go run ./test/chaos -topology $(or $(TOPOLOGY),single) -rounds $(or $(ROUNDS),19) -seed $(or $(SEED),1) -from $(or $(FROM),0) $(if $(OUT),-out $(OUT)) $(CHAOS_FLAGS)
soak: ## Let records flow for FOR=1h, and show what grows: memory, goroutines, descriptors, internal topics, lapsed leases
	go run ./test/chaos -soak $(or $(FOR),1h) $(CHAOS_FLAGS)
hostile: ## Send an hour's worth of hostile records and requests within FOR=5m to three workers of 512 MiB each, while records flow
	go run ./test/hostile -for $(or $(FOR),5m) $(HOSTILE_FLAGS)
.PHONY: simulate model chaos soak hostile

##@ Ship
image: ## Both images as OCI tars in dist/, without a Docker engine
	$(STACK) image --out $(CURDIR)/dist
load-image: image ## Load the images into the local Kubernetes
	$(STACK) load-image $(CURDIR)/dist/operator.tar $(CURDIR)/dist/worker.tar
docker-image: ## Both images by Docker, from the Dockerfile
	docker build --target operator -t docker.io/rocketmq-connect/operator:dev .
	docker build --target worker -t docker.io/rocketmq-connect/worker:dev .
sbom: ## What both binaries are made of, as CycloneDX in dist/: their modules, with versions and checksums
	mkdir -p dist
	for name in operator worker; do GOOS=linux $(TOOL) cyclonedx-gomod app -json -std -output dist/$$name.cdx.json -main cmd/$$name .; done
pin-bases: ## Give the bases of the Dockerfile the digests that their registries have now, before a release; commit what changes
	cd hack/stack && go run ./pinbases ../../Dockerfile
.PHONY: image load-image docker-image sbom pin-bases

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
.PHONY: help
