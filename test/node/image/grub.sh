#!/usr/bin/env bash
# Leaves GRUB in the tree as grub-install and update-grub would on the running node, but for its boot sector: modules, core.img, grub.cfg, and
# the entry that starts RELEASE as the saved default. The tree becomes the first partition of a disk, a file system with that UUID.
# Usage: grub.sh TREE UUID RELEASE
set -euo pipefail
tree=$1 uuid=$2 release=$3
grub=$tree/boot/grub
answers=$(mktemp)
finish() {
  ! mountpoint -q "$tree/usr/sbin/grub-probe" || umount "$tree/usr/sbin/grub-probe"
  rm -rf "$answers" "$tree/dev/disk"
}
trap finish EXIT

mkdir -p "$grub/i386-pc"
cp "$tree"/usr/lib/grub/i386-pc/*.{mod,lst} "$tree/usr/lib/grub/i386-pc/boot.img" "$grub/i386-pc/"
# What every boot needs is inside, since each file costs the firmware reads under emulation.
chroot "$tree" grub-mkimage --format=i386-pc --output=/boot/grub/i386-pc/core.img --prefix='(,msdos1)/boot/grub' \
  biosdisk part_msdos ext2 normal configfile echo test loadenv search search_fs_uuid serial terminal gzio linux

# grub-mkconfig asks grub-probe about the disk below /, which is not there yet: these are the answers that the running node gives.
cat >"$answers" <<PROBE
#!/bin/sh
case "\$*" in
*--target=device*) echo /dev/vda1 ;;
*--target=fs_uuid*) echo $uuid ;;
*--target=fs*) echo ext2 ;;
*--target=partmap*) echo msdos ;;
*--target=compatibility_hint*) echo hd0,msdos1 ;;
*--target=hints_string*) echo '--hint-bios=hd0,msdos1 --hint-efi=hd0,msdos1 --hint-baremetal=ahci0,msdos1' ;;
esac
PROBE
chmod 755 "$answers"
mount --bind "$answers" "$tree/usr/sbin/grub-probe"
mkdir -p "$tree/dev/disk/by-uuid"
: >"$tree/dev/disk/by-uuid/$uuid"
chroot "$tree" grub-set-default "gnulinux-advanced-$uuid>gnulinux-$release-advanced-$uuid"
chroot "$tree" update-grub >&2
