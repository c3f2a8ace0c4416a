#!/bin/sh
# Loads the live patches of the running kernel while the node boots: without the cluster, before the network. The agent copies this script to
# the node and keeps the modules beside it; kernelpatch-boot.service runs it.
#
# A load is journalled and on the disk before the kernel is asked, with the records of kernel/journal.ts. A file whose load has not ended, or
# that the kernel log named, is left alone: the agent quarantines it. When nothing can be written, nothing is loaded.
set -u
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

# A test's root directory.
root=${KERNELPATCH_ROOT:-}
misc=$root/var/lib/misc
directory=$misc/kernelpatch.boot
journal=$misc/kernelpatch.journal
live_patches=$root/sys/kernel/livepatch
units=$root/etc/systemd/system

# Boots without an agent in them after which the product counts as gone from this node.
MAX_BOOTS=3
# At boot few tasks run and a transition ends within a second or two; the kernel frees what holds one after 15 s (SIGNALS_TIMEOUT).
TRANSITION_SECONDS=30
REVERSAL_SECONDS=15

# systemd's journal keeps what is printed.
say() { echo "$*"; }

stop() { # WHY
  say "$*; nothing more is loaded"
  exit 1
}

# Seconds since the boot.
uptime() {
  read -r seconds _ <"$root/proc/uptime"
  echo "$seconds"
}

is_before() { # SECOND
  now=$(uptime)
  [ "${now%.*}" -lt "$1" ]
}

pause() { sleep 0.1 2>/dev/null || sleep 1; }

checksum() { # TEXT
  sum=$(printf %s "$1" | sha256sum) && printf %.16s "$sum"
}

# The record is durable; it fails when it is not.
record() { # JSON
  sum=$(checksum "$1") && printf '%s %s\n' "$sum" "$1" >>"$journal" && sync "$journal" "$misc"
}

# The journal is not there, or consists of whole records. What is appended behind a torn one, or behind NUL bytes, would not be read.
is_whole() {
  [ -e "$journal" ] || return 0
  bytes=0
  while IFS= read -r line; do
    [ "$(checksum "${line#* }")" = "${line%% *}" ] || return 1
    bytes=$((bytes + ${#line} + 1))
  done <"$journal"
  [ "$bytes" -eq "$(wc -c <"$journal")" ]
}

# The journal holds something against the file: a load that has not ended, or a trace in the kernel log.
is_held() { # SHA256
  open='' trace=''
  [ -e "$journal" ] || return 1
  while IFS= read -r line; do
    case $line in
    *"\"sha256\":\"$1\""*) ;;
    *) continue ;;
    esac
    case $line in
    *'"kind":"Attempt"'*) open=yes trace='' ;;
    *'"kind":"Oops"'*) trace=yes ;;
    *) open='' ;;
    esac
  done <"$journal"
  [ -n "$open$trace" ]
}

# Nothing of the product is left on this node, but for a journal that holds something back.
remove_all() {
  rm -f "$units/sysinit.target.wants/kernelpatch-boot.service" "$units/kernelpatch-boot.service"
  rm -rf "$directory"
  [ -e "$journal" ] || return 0
  sed -n 's/.*"sha256":"\([0-9a-f]*\)".*/\1/p' "$journal" | while read -r sha256; do
    if is_held "$sha256"; then exit 1; fi
  done && rm -f "$journal"
}

# One more boot that no agent has seen; the agent removes the file.
count_boot() {
  boots=0
  if [ -e "$directory/boots" ]; then read -r boots <"$directory/boots"; fi
  case $boots in
  [0-9]) ;;
  *) boots=$MAX_BOOTS ;;
  esac
  if [ "$boots" -ge "$MAX_BOOTS" ]; then
    say "no agent has run in the last $MAX_BOOTS boots: this is removed from the node"
    remove_all
    exit 0
  fi
  echo $((boots + 1)) >"$directory/boots.new" && sync "$directory/boots.new" && mv "$directory/boots.new" "$directory/boots" && sync "$directory"
}

has_state() { # NAME ENABLED TRANSITION
  read -r enabled <"$live_patches/$1/enabled" && read -r transition <"$live_patches/$1/transition" && [ "$enabled $transition" = "$2 $3" ]
} 2>/dev/null

# The patch is disabled and its module removed.
reverse() { # NAME
  say "$1: its transition has not ended, so it is reversed"
  echo 0 >"$live_patches/$1/enabled"
  until rmmod "$1" 2>/dev/null; do
    is_before $((end + REVERSAL_SECONDS)) || stop "$1: its transition can not be reversed"
    pause
  done
}

# The transition has ended; it fails when it did not in time and was reversed.
see_through() { # NAME
  until has_state "$1" 1 0; do
    if is_before "$end"; then pause; else reverse "$1"; return 1; fi
  done
}

load() { # SHA256 NAME BUILD_ID LIFT
  file=$modules/$1.ko
  [ ! -d "$root/sys/module/$2" ] || { say "$2 is loaded already"; return; }
  [ -e "$file" ] || { say "$2: its file is not there"; return; }
  ! is_held "$1" || { say "$2: the journal holds its file back"; return; }
  found=$(sha256sum <"$file")
  [ "${found%% *}" = "$1" ] || { say "$2: its file has changed and is removed; the agent copies it again"; rm -f "$file"; return; }

  read -r boot_id <"$root/proc/sys/kernel/random/boot_id"
  attempt="{\"kind\":\"Attempt\",\"name\":\"$2\",\"sha256\":\"$1\",\"buildID\":\"$3\",\"bootID\":\"$boot_id\",\"uptimeSeconds\":$(uptime),\"at\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"lift\":$4}"
  record "$attempt" || stop "$journal can not be written"
  outcome=Unloaded
  if insmod "$file" </dev/null && see_through "$2"; then outcome=Committed; fi
  record "{\"kind\":\"$outcome\",\"sha256\":\"$1\"}" || stop "$journal can not be written"
  say "$2: $outcome"
}

# The kernel has this build id: another build of one release is another kernel.
is_build() { # BUILD_ID
  [ "$1" != unknown ] || return 0
  case $(od -An -v -tx1 "$root/sys/kernel/notes" | tr -d ' \n') in
  *"474e5500$1"*) ;;
  *) return 1 ;;
  esac
}

begin=$(uptime)
end=$((${begin%.*} + TRANSITION_SECONDS))
read -r release <"$root/proc/sys/kernel/osrelease"
modules=$directory/$release
count_boot || stop "$directory can not be written"
[ -e "$modules/manifest" ] || { say "no live patch is kept for kernel $release"; exit 0; }
is_whole || stop "$journal ends with a torn record"
{
  read -r build_id
  is_build "$build_id" || stop "the live patches are kept for another build of kernel $release"
  while read -r sha256 name module_build_id lift; do
    is_before "$end" || stop "$TRANSITION_SECONDS s are over"
    load "$sha256" "$name" "$module_build_id" "$lift"
  done
} <"$modules/manifest"
