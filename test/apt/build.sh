#!/usr/bin/env bash
# Makes an apt repository of one package and prints its directory: Packages , Release and the .deb. It is the package of one kernel as the node image has it installed, made again: image, modules, control data and maintainer scripts
# of Debian. Not compressed, since what is inside is. Kept for each image; some seconds.
# Usage: build.sh DISK_IMAGE RELEASE
set -euo pipefail

disk=${1:?disk image of the node} release=${2:?kernel release}
cache=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}
package=linux-image-$release
out=$cache/apt-$({ basename "$(dirname "$disk")"; echo "$release"; cat "$0"; } | sha256sum | cut -c1-12)
mkdir -p "$cache"
exec 9>"$cache/.apt.lock"
flock 9
if [ -e "$out/complete" ]; then echo "$out"; exit; fi
rm -rf "$out"
tree=$out/tree
mkdir -p "$tree/DEBIAN" "$tree/boot" "$tree/usr/lib/modules"

# The root file system is the first partition, at 1 MiB (test/node/image/build.sh).
ask() { debugfs -R "$1" "$disk?offset=1048576" 2>/dev/null; }
for file in vmlinuz System.map config; do ask "dump -p /boot/$file-$release $tree/boot/$file-$release"; done
ask "rdump /usr/lib/modules/$release $tree/usr/lib/modules"
for script in preinst postinst prerm postrm; do
  ask "cat /var/lib/dpkg/info/$package.$script" >"$tree/DEBIAN/$script"
  chmod 755 "$tree/DEBIAN/$script"
done
if [ ! -s "$tree/boot/vmlinuz-$release" ] || [ ! -s "$tree/DEBIAN/postinst" ]; then
  echo "test/apt: $package is not in $disk" >&2
  exit 1
fi
# What depmod made when it was installed.
(cd "$tree/usr/lib/modules/$release" && rm -f modules.alias* modules.dep* modules.symbols* modules.devname modules.softdep modules.weakdep modules.builtin.bin modules.builtin.alias.bin)
ask 'cat /var/lib/dpkg/status' | awk -v RS= -v first="Package: $package" 'index($0, first "\n") == 1' | grep -v '^Status:' >"$tree/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$tree" "$out/$package.deb" >&2
{
  cat "$tree/DEBIAN/control"
  echo "Filename: ./$package.deb"
  echo "Size: $(stat -c %s "$out/$package.deb")"
  echo "SHA256: $(sha256sum "$out/$package.deb" | cut -d ' ' -f 1)"
} >"$out/Packages"
# Without one apt asks for each list that there might be, again and again.
printf 'Date: %s\nSHA256:\n %s %s Packages\n' "$(date -Ru)" "$(sha256sum "$out/Packages" | cut -d ' ' -f 1)" "$(stat -c %s "$out/Packages")" >"$out/Release"
rm -rf "$tree"
: >"$out/complete"
echo "$out"
