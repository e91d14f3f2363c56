#!/usr/bin/env bash
# Builds the linter, which has a module of its own so that its hundreds of dependencies stay out of the product's graph.
source "$(dirname "$0")/env.sh"
need_go
mkdir -p build/bin
cd tools
go build -o ../build/bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
