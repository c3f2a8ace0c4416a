#!/usr/bin/env bash
# Writes the sandbox image localhost/pause:1 as an OCI archive. Usage: build.sh OUTPUT
set -euo pipefail
output=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$(dirname "$0")" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -buildid=' -o "$work/pause" .)
export STORAGE_DRIVER=vfs
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
container=$(buildah from scratch)
buildah copy --quiet "$container" "$work/pause" /pause >/dev/null
buildah config --entrypoint '["/pause"]' --user 65535:65535 "$container"
buildah commit --quiet --timestamp 0 "$container" localhost/pause:1 >/dev/null
rm -f "$output"
buildah push --quiet localhost/pause:1 "oci-archive:$output:localhost/pause:1"
