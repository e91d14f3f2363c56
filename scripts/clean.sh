#!/usr/bin/env bash
# Removes what the other scripts created in this directory.
source "$(dirname "$0")/env.sh"
rm -rf build/bin build/demo build/work build/npm build/python
go clean -testcache
