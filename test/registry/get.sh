#!/usr/bin/env bash
# Leaves Debian's docker-registry (CNCF Distribution) in the cache and prints its path. The package is unpacked and not installed, which would start it as a service.
set -euo pipefail

dir=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}/docker-registry
die() { echo "test/registry: $*" >&2; exit 1; }

mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
if [ ! -x "$dir/usr/bin/docker-registry" ]; then
  command -v apt-get >/dev/null || die "this is no Debian machine: put docker-registry into $dir/usr/bin"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && { apt-get download docker-registry || { apt-get update -qq && apt-get download docker-registry; } }) >"$work/log" 2>&1 || die "$(cat "$work/log")"
  dpkg-deb -x "$work"/docker-registry_*.deb "$dir"
fi
echo "$dir/usr/bin/docker-registry"
