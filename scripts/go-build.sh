#!/usr/bin/env bash
# Builds one program into build/bin and shows progress:
#   go-build.sh <module directory> <package> <name> [<which> of <how many>]
# A terminal gets one line that is updated, anything else a line every ten seconds. A program that
# is up to date produces no output.
source "$(dirname "$0")/env.sh"
module=$1 package=$2 name=$3
label="building $name${4:+ ($4)}"
out=$PWD/build/bin/$name
mkdir -p build/bin

# stale counts the packages that are missing in the build cache.
stale() {
  go list -C "$module" -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$package" 2>/dev/null |
    grep -c . || true
}

# show <text>
show() {
  if [ -t 2 ]; then
    local columns
    columns=$(stty size <&2 2>/dev/null) || columns="24 80"
    columns=${columns#* }
    printf '\r\e[K%s' "${1:0:columns > 1 ? columns - 1 : 79}" >&2
  elif [ $((SECONDS - shown)) -ge 10 ]; then
    printf '%s\n' "$1" >&2
    shown=$SECONDS
  fi
}
shown=-10

# follow reads the output of go build -v: downloaded modules, compiled packages, and errors, which
# it passes on.
follow() {
  local line text=$label modules=0 packages=0 total=0
  while true; do
    if IFS= read -r -t 5 line; then
      case $line in
        "go: downloading "*)
          modules=$((modules + 1))
          text="$label: downloading, $modules modules so far: ${line#go: downloading }"
          ;;
        *[!A-Za-z0-9._~/+-]* | '')
          [ ! -t 2 ] || printf '\r\e[K' >&2
          printf '%s\n' "$line" >&2
          continue
          ;;
        *)
          [ "$total" -gt 0 ] || total=$(stale)
          packages=$((packages + 1))
          [ "$total" -ge "$packages" ] || total=$packages
          text="$label: package $packages of $total, $line"
          ;;
      esac
    elif [ $? -le 128 ]; then
      break # end of input, not a timeout
    elif [ "$packages" -gt 0 ] && [ "$packages" -eq "$total" ]; then
      text="$label: linking"
    fi
    show "$text"
  done
  [ ! -t 2 ] || printf '\r\e[K' >&2
}

go build -C "$module" -v -o "$out" "$package" 2>&1 | follow || fail "building $name failed"
