#!/usr/bin/env bash
# Builds the linter. Its own module keeps its hundreds of dependencies out of the product's.
source "$(dirname "$0")/env.sh"
need_go
scripts/go-build.sh tools github.com/golangci/golangci-lint/v2/cmd/golangci-lint golangci-lint
