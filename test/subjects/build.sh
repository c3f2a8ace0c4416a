#!/usr/bin/env bash
# Builds the kernel modules of src/ for each release with Debian's own headers and prints the directory: RELEASE/NAME.ko.
# The chroot with headers and compiler is made once for a set of releases (about 2 minutes), the modules take seconds.
# Usage: build.sh RELEASE...
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}
say() { echo "[$(date +%H:%M:%S)] $*" >&2; }
[ $# -gt 0 ] || { echo "usage: build.sh RELEASE..." >&2; exit 1; }

chroot=$cache/headers-$(printf '%s\n' "$@" | sha256sum | cut -c1-12)
out=$cache/subjects-$({ printf '%s\n' "$@"; cat "$here"/src/* "$0"; } | sha256sum | cut -c1-12)
mkdir -p "$cache"
exec 9>"$cache/.subjects.lock"
flock 9
if [ -e "$out/complete" ]; then echo "$out"; exit; fi

if [ ! -e "$chroot/complete" ]; then
  say "making a tree with kernel headers and a compiler (about 2 minutes, once)"
  rm -rf "$chroot"
  packages=make,gcc
  for release in "$@"; do packages=$packages,linux-headers-$release; done
  mmdebstrap --quiet --variant=minbase --include="$packages" --aptopt='Apt::Install-Recommends "false"' trixie "$chroot" >&2
  : >"$chroot/complete"
fi

rm -rf "$out"
for release in "$@"; do
  say "building the test's modules for $release"
  work=$chroot/build/$release
  rm -rf "$work"
  mkdir -p "$work" "$out/$release"
  cp "$here"/src/* "$work/"
  # A missing symbol is what kp_unlinked is for.
  chroot "$chroot" make -s KBUILD_MODPOST_WARN=1 -C "/lib/modules/$release/build" M="/build/$release" modules >&2
  cp "$work"/*.ko "$out/$release/"
done
: >"$out/complete"
echo "$out"
