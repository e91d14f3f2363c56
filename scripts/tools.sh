#!/usr/bin/env bash
# Builds the linter, which has a module of its own so that its hundreds of dependencies stay out of the product's graph.
source "$(dirname "$0")/env.sh"
need_go
scripts/go-build.sh tools github.com/golangci/golangci-lint/v2/cmd/golangci-lint golangci-lint
