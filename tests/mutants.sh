#!/usr/bin/env bash
# Breaks the engine on purpose, one place at a time, in a copy, and shows that a test notices each.
# Usage: tests/mutants.sh [NAME]. Exit 0: all were noticed.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/mutants}
survived=0

# mutant NAME FILE SED-EXPRESSION TEST-ARGUMENTS...
mutant() {
    local name=$1 file=$2 edit=$3
    shift 3
    [ -n "$only" ] && [ "$only" != "$name" ] && return
    rm -rf "$copy"/* && (cd "$root" && git ls-files | tar cf - -T -) | tar xf - -C "$copy"
    sed -i -E "$edit" "$copy/$file"
    if cmp -s "$root/$file" "$copy/$file"; then
        echo "STALE     $name: the edit changes nothing"
        survived=1
    elif (cd "$copy" && timeout 120 cargo test --quiet "$@" >"$copy.log" 2>&1); then
        echo "SURVIVED  $name"
        survived=1
    elif grep -qE '^error(\[E[0-9]+\])?: ' "$copy.log" && ! grep -q FAILED "$copy.log"; then
        echo "STALE     $name: it does not compile"
        survived=1
    else
        echo "noticed   $name: $(grep -m1 -oE '^[a-z0-9_:]+ --- FAILED|^test .* FAILED|.* FAILED' "$copy.log" | head -c 90)"
    fi
}

only=${1:-}
mutant ack-before-sync src/log/commit.rs 's/let synced = self.sync_everything\(\);/let synced: Result<Synced> = Ok(Synced { end: self.end(), group: 1, records: 0 });/' -p duralog-cli --test trace
mutant no-fdatasync src/storage/file.rs 's/Ok\(fs::fdatasync\(&self.fd\)\?\)/Ok(())/' -p duralog-cli --test trace
mutant no-directory-sync-after-the-manifest src/manifest.rs 's/directory.sync\(\).map_err\(\|e\| unknown\("fsync of the directory", e\)\)/Ok(())/' -p duralog-cli --test directory_sync
mutant no-directory-sync-after-create src/log/files.rs '/Segment::create/,/sync_name/ s/sync_name\(\)\?;//' -p duralog-cli --test directory_sync
mutant no-directory-sync-after-recycling src/log/files.rs 's/sync_name\(\)\.and_then\(/Ok(()).and_then(/' -p duralog-cli --test directory_sync
mutant poison-forgotten src/log/engine.rs 's/self.ended.store\(true, Ordering::Release\);//; s/self.failure.get_or_init\(\|\| Arc::new\(error\)\)/Arc::new(error)/; s/Arc::clone\(&?Arc::new\(error\)\)/Arc::new(error)/' -p duralog-cli --test failed_sync
mutant checksum-not-bound-to-the-lsn src/format/frame.rs 's/seed \^ position, body/seed, body/' --lib
mutant salt-not-renewed src/log/files.rs 's/salt: crate::format::u64_at.*$/salt: 0,/; s/log_id: self.log_id,\s*$/log_id: self.log_id,/' --test promises salt
mutant batch-end-not-checked src/segment/verdict.rs 's/stop.open_batch.unwrap_or\(stop.at\)/stop.at/' --test promises p3
mutant marks-not-written src/log/append.rs 's/let mark_due = tail.marked < durable;/let mark_due = false;/' --test promises p5
mutant marks-not-looked-for src/walk.rs 's/scan.highest_mark_beyond\(cut_of\(stop\)\).map_err\(read\)\?/None/' --test promises p5
mutant torn-tail-appended-behind src/log/recover.rs 's/at = entry.base \+ end;/at = entry.base + end + 8;/' --test promises
mutant cut-in-memory-only src/log/retain.rs 's/self.write_manifest_locked\(upkeep, &change, &tail\)\?;//' --test truncate
mutant pins-ignored src/log/catalog.rs 's/weak.strong_count\(\) > 0/false/' --test promises p10
mutant checkpoint-frees-too-much src/log/retain.rs 's/base < first_kept/base <= first_kept/' --test promises p10
mutant no-lock src/storage/disk.rs 's/Err\(Errno::WOULDBLOCK\) => Ok\(false\)/Err(Errno::WOULDBLOCK) => Ok(true)/' --test promises p8
mutant links-followed src/storage/disk.rs 's/ \| OFlags::NOFOLLOW \| OFlags::NONBLOCK/ | OFlags::NONBLOCK/' --test promises p12
mutant world-readable src/storage/disk.rs 's/Mode::RUSR \| Mode::WUSR\)/Mode::RUSR | Mode::WUSR | Mode::RGRP)/' --test promises p12
mutant stale-manifest-trusted src/log/recover.rs 's/filter\(\|id\| \*id >= manifest.next_id\)/filter(|_| false)/' --test damage
mutant size-not-checked src/segment/file.rs 's/status.len != identity.size/false/' --test damage
exit $survived
