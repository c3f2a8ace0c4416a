#!/bin/sh
# Loads the live patches of the running kernel while the node boots: without the cluster, before the network. The agent copies this script to
# the node and keeps the modules beside it; kernelpatch-boot.service runs it.
#
# A load is journalled and on the disk before the kernel is asked, with the records of kernel/journal.ts. A file that they quarantine is left
# alone. When nothing can be written, nothing is loaded.
#
# With the argument `stop`, when the node goes down in order: this boot has not ended because of what was loaded.
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

# As in kernel/journal.ts: boots in a row that ended soon after a load.
MAX_CRASHES=2
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

# Sets uptime, in seconds since the boot.
look_at_clock() { read -r uptime _ <"$root/proc/uptime"; }

is_before() { # SECOND
  look_at_clock
  [ "${uptime%.*}" -lt "$1" ]
}

pause() { sleep 0.1 2>/dev/null || sleep 1; }

# Sets sum.
checksum() { # TEXT
  sum=$(printf %s "$1" | sha256sum) || return
  sum=${sum%"${sum#????????????????}"}
}

# The record is durable; it fails when it is not.
record() { # JSON
  checksum "$1" && printf '%s %s\n' "$sum" "$1" >>"$journal" && sync "$journal" "$misc"
}

# The journal is not there, or consists of whole records. What is appended behind a torn one, or behind NUL bytes, would not be read.
is_whole() {
  [ -e "$journal" ] || return 0
  bytes=0
  while IFS= read -r line; do
    checksum "${line#* }" || return
    [ "$sum" = "${line%% *}" ] || return
    bytes=$((bytes + ${#line} + 1))
  done <"$journal"
  [ "$bytes" -eq "$(wc -c <"$journal")" ]
}

# Sets what the journal knows of the file's last load: outcome (empty: there was none), boot, lift, crashes, trace.
recall() { # SHA256
  outcome='' boot='' lift='' crashes=0 trace=''
  [ -e "$journal" ] || return 0
  while IFS= read -r line; do
    case $line in
    *"\"sha256\":\"$1\""*) ;;
    *) continue ;;
    esac
    case $line in
    *'"kind":"Attempt"'*) recall_attempt "$line" ;;
    *'"kind":"Oops"'*) trace=yes ;;
    *'"kind":"Committed"'*) outcome=Committed ;;
    *) outcome=Unloaded ;;
    esac
  done <"$journal"
}

# Another attempt of the same file: a boot that had committed it has ended without anybody having been told.
recall_attempt() { # RECORD
  next_boot=${1#*\"bootID\":\"} next_boot=${next_boot%%\"*}
  next_lift=${1#*\"lift\":} next_lift=${next_lift%\}} next_lift=${next_lift%,\"crashes\":*}
  case $1 in
  *'"crashes":'*) crashes=${1#*\"crashes\":} crashes=${crashes%%[!0-9]*} ;;
  *) if [ "$lift" = "$next_lift" ]; then count_crash "$next_boot"; else crashes=0; fi ;;
  esac
  boot=$next_boot lift=$next_lift outcome=Open trace=''
}

count_crash() { # BOOT_ID
  if [ "$outcome" = Committed ] && [ "$boot" != "$1" ]; then crashes=$((crashes + 1)); fi
}

# The agent quarantines the file, or will.
is_held() { # SHA256
  recall "$1"
  count_crash "$boot_id"
  [ -n "$trace" ] || [ "$outcome" = Open ] || [ "$crashes" -ge $MAX_CRASHES ]
}

# Nothing of the product is left on this node, but for a journal that holds something back.
remove_all() {
  rm -f "$units/sysinit.target.wants/kernelpatch-boot.service" "$units/kernelpatch-boot.service"
  rm -rf "$directory" "$misc/kernelpatch.fetched"
  [ -e "$journal" ] || return 0
  sed -n 's/.*"sha256":"\([0-9a-f]*\)".*/\1/p' "$journal" | while read -r sha256; do
    if is_held "$sha256"; then exit 1; fi
  done && rm -f "$journal"
}

# One more boot that no agent has seen; the agent removes the file.
count_boot() {
  boots=0
  if [ -e "$directory/boots" ]; then read -r boots <"$directory/boots"; fi
  # What a power cut left of it. Nothing was loaded in that boot, since it was not on the disk.
  case $boots in
  [0-9]) ;;
  *) boots=0 ;;
  esac
  if [ "$boots" -ge "$MAX_BOOTS" ]; then
    say "no agent has run in the last $MAX_BOOTS boots: this is removed from the node"
    remove_all
    exit 0
  fi
  echo $((boots + 1)) >"$directory/boots" && sync "$directory/boots" "$directory"
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

load() { # SHA256 NAME BUILD_ID WORD
  file=$modules/$1.ko
  [ ! -d "$root/sys/module/$2" ] || { say "$2 is loaded already"; return; }
  [ -e "$file" ] || { say "$2: its file is not there"; return; }
  ! is_held "$1" || { say "$2: the journal holds its file back"; return; }
  found=$(sha256sum <"$file")
  [ "${found%% *}" = "$1" ] || { say "$2: its file has changed and is removed; the agent copies it again"; rm -f "$file"; return; }

  look_at_clock
  attempt="{\"kind\":\"Attempt\",\"name\":\"$2\",\"sha256\":\"$1\",\"buildID\":\"$3\",\"bootID\":\"$boot_id\",\"uptimeSeconds\":$uptime,\"at\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"lift\":$4}"
  record "$attempt" || stop "$journal can not be written"
  kind=Unloaded
  if insmod "$file" </dev/null && see_through "$2"; then kind=Committed; fi
  record "{\"kind\":\"$kind\",\"sha256\":\"$1\"}" || stop "$journal can not be written"
  say "$2: $kind"
}

# The kernel has this build id: another build of one release is another kernel.
is_build() { # BUILD_ID
  [ "$1" != unknown ] || return 0
  notes=''
  for byte in $(od -An -v -tx1 "$root/sys/kernel/notes"); do notes=$notes$byte; done
  case $notes in
  *"474e5500$1"*) ;;
  *) return 1 ;;
  esac
}

load_all() {
  look_at_clock
  end=$((${uptime%.*} + TRANSITION_SECONDS))
  count_boot || stop "$directory can not be written"
  [ -e "$modules/manifest" ] || { say "no live patch is kept for kernel $release"; return; }
  is_whole || stop "$journal ends with a torn record"
  {
    read -r build_id
    is_build "$build_id" || stop "the live patches are kept for another build of kernel $release"
    while read -r sha256 name module_build_id word; do
      is_before "$end" || stop "$TRANSITION_SECONDS s are over"
      load "$sha256" "$name" "$module_build_id" "$word"
    done
  } <"$modules/manifest"
}

# An agent that was told to end has done the same for its own loads.
end_all() {
  [ -e "$modules/manifest" ] || return 0
  is_whole || stop "$journal ends with a torn record"
  {
    read -r _
    while read -r sha256 _; do
      recall "$sha256"
      if [ "$outcome $boot" = "Committed $boot_id" ]; then record "{\"kind\":\"Unloaded\",\"sha256\":\"$sha256\"}"; fi
    done
  } <"$modules/manifest"
}

read -r boot_id <"$root/proc/sys/kernel/random/boot_id"
read -r release <"$root/proc/sys/kernel/osrelease"
modules=$directory/$release
if [ "${1:-}" = stop ]; then end_all; else load_all; fi
