#!/usr/bin/env bash
# Generates the Go code of dataegress/data_egress.proto; with -check it compares instead. protoc is
# Debian's (protobuf-compiler, libprotobuf-dev), the plugins are pinned in tools/go.mod.
source "$(dirname "$0")/env.sh"
need_go
command -v protoc >/dev/null ||
  fail "protoc is missing. Install it (Debian: apt-get install protobuf-compiler libprotobuf-dev)."
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go \
  github.com/twitchtv/twirp/protoc-gen-twirp; do
  scripts/go-build.sh tools "$plugin" "${plugin##*/}"
done
livekit=$(go list -m -f '{{.Dir}}' github.com/livekit/protocol)
[ -n "$livekit" ] || livekit=$(go mod download -json github.com/livekit/protocol |
  sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
protoc -I dataegress -I "$livekit/protobufs" \
  --plugin=build/bin/protoc-gen-go --plugin=build/bin/protoc-gen-twirp \
  --go_out="$to" --go_opt=paths=source_relative \
  --twirp_out="$to" --twirp_opt=paths=source_relative data_egress.proto

if [ "${1:-}" != -check ]; then
  cp "$to"/*.go dataegress/
  exit
fi
for file in "$to"/*.go; do
  # Another protoc is named in a comment, and changes nothing else.
  diff -u -I '^//.*protoc ' "dataegress/${file##*/}" "$file" ||
    fail "dataegress/${file##*/} is not current; run go generate ./dataegress"
done
