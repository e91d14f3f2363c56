#!/usr/bin/env bash
# Builds the named programs, or all, into build/bin. "product" stands for textegress, "stack" for it
# and the servers of the development stack. Programs that are up to date are only checked.
source "$(dirname "$0")/env.sh"
need_go

# Name in build/bin, directory of the module, package.
stack="
textegress . ./cmd/textegress
livekit-server test github.com/livekit/livekit-server/cmd/server
versitygw test github.com/versity/versitygw/cmd/versitygw
syncflow-standin test ./cmd/syncflow
"
# LiveKit 1.11 has its own module: it and 1.13 need different versions of LiveKit's other modules.
others="
livekit-server-1.11.0 test/livekit111 github.com/livekit/livekit-server/cmd/server
peer-gosdk test ./bench/peers/gosdk
"
for main in test/cmd/*/main.go; do
  dir=$(basename "$(dirname "$main")")
  [ "$dir" = syncflow ] || others+="$dir test ./cmd/$dir"$'\n'
done

programs=()
[ $# -gt 0 ] || programs=("$stack$others")
for name in "$@"; do
  case $name in
    stack) programs+=("$stack") ;;
    product) programs+=("$(grep '^textegress ' <<<"$stack")") ;;
    *)
      programs+=("$(grep "^$name " <<<"$stack$others")") ||
        fail "scripts/build.sh: unknown program $name"
      ;;
  esac
done
mapfile -t programs < <(printf '%s\n' "${programs[@]}" | grep .)

for i in "${!programs[@]}"; do
  read -r name module package <<<"${programs[i]}"
  # Third-party programs change only with these two files; go build takes half a second to notice.
  if [ "${package#./}" = "$package" ] && [ "build/bin/$name" -nt "$module/go.mod" ] &&
    [ "build/bin/$name" -nt "$module/go.sum" ]; then
    continue
  fi
  scripts/go-build.sh "$module" "$package" "$name" "$((i + 1)) of ${#programs[@]}"
done
