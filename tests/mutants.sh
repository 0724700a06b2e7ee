#!/usr/bin/env bash
# Breaks the engine on purpose, one place at a time, in a copy, and shows that a test notices each.
# Usage: tests/mutants.sh [NAME | --edits]. Exit 0: all were noticed; of --edits, which runs no test: all still change
# something.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# Its own: cargo takes a copy for the project itself, and would test it with what was built of a broken one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutants
survived=0

# mutant NAME "FILE..." SED-EXPRESSION TEST-ARGUMENTS...
mutant() {
    local name=$1 files=$2 edit=$3 file changed=
    shift 3
    [ -n "$only" ] && [ "$only" != "$name" ] && return
    if [ -n "$edits" ]; then
        for file in $files; do
            sed -E "$edit" "$root/$file" | cmp -s "$root/$file" - || changed=1
        done
        [ -n "$changed" ] || { echo "STALE     $name: the edit changes nothing"; survived=1; }
        return
    fi
    # All of it new, or what the last edit broke would still be taken as built.
    rm -rf "$copy"/* && (cd "$root" && git ls-files | tar cf - -T -) | tar xmf - -C "$copy"
    for file in $files; do
        sed -i -E "$edit" "$copy/$file"
        cmp -s "$root/$file" "$copy/$file" || changed=1
    done
    if [ -z "$changed" ]; then
        echo "STALE     $name: the edit changes nothing"
        survived=1
    elif (cd "$copy" && timeout 600 cargo test --quiet "$@" >"$copy.log" 2>&1) || [ $? = 124 ]; then
        echo "SURVIVED  $name"
        survived=1
    elif grep -qE '^error(\[E[0-9]+\])?: ' "$copy.log" && ! grep -q FAILED "$copy.log"; then
        echo "STALE     $name: it does not compile"
        survived=1
    else
        echo "noticed   $name: $(grep -m1 -oE '^[a-z0-9_:]+ --- FAILED|^test .* FAILED|.* FAILED' "$copy.log" | head -c 90)"
    fi
}

# The same, under the schedules of the model checker; more than usual, since some need a rare one.
interleaved() {
    local name=$1 file=$2 edit=$3 test=$4
    CARGO_TARGET_DIR=$CARGO_TARGET_DIR/shuttle RUSTFLAGS="--cfg shuttle" DURALOG_SCHEDULES=40000 \
        mutant "$name" "$file" "$edit" --test interleavings "$test"
    if [ -z "$edits" ] && { [ -z "$only" ] || [ "$only" = "$name" ]; }; then
        grep -m1 -oE '^[A-Za-z]+ schedule [0-9]+' "$copy.log"
    fi
}

only=${1:-} edits=
[ "$only" = --edits ] && only= edits=1
mutant ack-before-sync src/log/commit.rs 's/let synced = self.contain\(\|\| self.sync_everything\(begun\)\);/let synced: Result<Synced> = Ok(Synced { end: begun.end, took: Duration::ZERO, records: 0, bytes: 0, rolled: false });/' -p duralog-cli --test trace
mutant no-fdatasync src/storage/file.rs 's/^        fs::fdatasync\(&self.fd\)\?;//' -p duralog-cli --test trace
mutant notes-not-in-the-manifest src/log/change.rs 's/let mut notes = tail.notes.as_of\(.*\);/let mut notes = crate::format::notes::Notes::default();/' --test crash power_cut
mutant notes-not-walked src/log/find_end.rs 's/if lsn >= manifest.noted \{/if lsn > u64::MAX - 1 {/' --test crash power_cut
mutant note-kept-before-it-is-durable src/log/notes.rs 's/take_while\(\|\(lsn, _\)\| \*lsn < durable\)/take_while(|(lsn, _)| *lsn < durable.max(u64::MAX))/' --test crash power_cut
mutant notes-cut-with-the-records src/log/change.rs 's/if cut \{ u64::MAX \} else \{ durable \}/if cut { durable.min(change.cut.unwrap_or(0)) } else { durable }/' --test crash
mutant consumer-freed-before-its-ack-is-durable src/log/notes.rs 's/let mut positions = self.as_of\(durable\).consumers\(\).to_vec\(\);/let mut positions = self.current.consumers().to_vec();/' --test notes
mutant new-consumer-passed-over src/log/notes.rs 's/let behind = self.pending.iter\(\).filter\(.*\);/let behind = self.pending.iter().take(0);/' --test notes
mutant archive-not-asked src/log/change.rs 's/checkpoint.min\(notes.archived.unwrap_or\(u64::MAX\)\)/checkpoint/' --test notes
mutant archived-not-given-back src/log/upkeep.rs 's/if self.has_free\(.*\) \{/if false {/' --test notes
mutant below-the-checkpoint-read-in-silence src/extent.rs 's/if is_gone \|\| at > end/if at > end/' --test notes
mutant note-taken-for-a-mark src/inspect/beside/mod.rs 's/if head.kind == Kind::Mark \{/if head.kind != Kind::Record {/' --test reader note
mutant reset-keeps-the-records src/log/change.rs 's/true => \(0..0, Vec::new\(\)\),/true => (freed..kept, self.catalog.newer_than(old.last().map_or(0, |entry| entry.id))),/' --test reset
interleaved reset-past-an-append src/log/reset.rs 's/if tail.writer.lsn\(\) <= lsn.get\(\) =>/if first.lsn() > 0 \&\& lsn.get() > 0 =>/' anew
interleaved reset-not-told src/log/reset.rs 's/self.pass_over\(start\);/self.raise_durable(start);/' anew
interleaved retention-by-an-ack-that-is-not-durable src/log/notes.rs 's/let mut positions = self.as_of\(durable\).consumers\(\).to_vec\(\);/let mut positions = self.current.consumers().to_vec();/' retention
interleaved cap-passed-by-one src/log/retention.rs 's/if over == 0 \{/if over <= self.files.options.segment_size {/' retention
interleaved drop-leaves-a-segment-being-made src/log/mod.rs 's/drop\(engine.upkeep.lock\(\)\);//' p8_a_consumer
mutant reset-window-overlaps src/log/reset.rs 's/upkeep.stock.next_base.max\(at - DATA_START\)/at - DATA_START/' --test reset where_a
mutant reset-passes-who-has-shown-nothing src/log/follow/advance.rs 's/if end == Some\(base\) \{ base \} else/if false { base } else/' --test reset p2_a_follower
mutant reset-ends-late src/log/reset.rs 's/let dropped = self.catalog.snapshot\(\);/self.end.store(start, Ordering::Release); let dropped = self.catalog.snapshot();/' --test reset p5_a_reset
mutant reset-not-there-when-asked-again src/log/reset.rs 's/\(self.checkpoint.load\(Ordering::Acquire\)..=end\).contains\(&lsn.get\(\)\)/lsn.get() == end/' --test reset a_reset_that
mutant note-applied-again src/log/find_end.rs 's/if lsn >= manifest.noted \{/if lsn > 0 {/' --test holding p1_recovery
mutant full-log-takes-no-note src/log/notes.rs 's/Err\(Error::Full \{ .. \}\) => self.note_in_manifest\(&make\),//' --test holding p7_who
mutant slowest-of-the-last-note src/log/notes.rs 's/let behind = self.pending.iter\(\).filter\(.*\);/let behind = self.pending.iter().rev().take(1);/' --test holding p10_a_checkpoint
mutant full-disk-keeps-what-was-archived src/log/upkeep.rs 's/if let Err\(error @ Error::Poisoned \{ .. \}\) = provided/if let Err(error) = provided/' --test holding p7_on
mutant consumer-stands-below-the-floor src/log/consumer.rs 's/engine.catalog.head\(\).max\(now.floor\)/engine.catalog.head()/' --test holding p10_where
mutant seek-below-the-floor src/log/consumer.rs 's/if position.get\(\) < now.floor \{/if false {/' --test holding p10_where
mutant sealed-though-never-synced src/log/tell.rs 's/manifest.checkpoint.min\(self.durable\(\)\)/manifest.checkpoint/' --test observer what_a_reset
mutant age-by-the-file-alone src/log/retention.rs 's/if let Some\(ended\) = slot.ended_for\(\) \{/if let Some(ended) = slot.ended_for().filter(|_| false) {/' --test retention p10_what_is_young
interleaved reset-head-before-durable src/log/reset.rs 's/self.pass_over\(start\);//' anew
mutant no-small-segment src/log/recover.rs 's/filter\(\|size\| \*size <= full\)/filter(|size| *size < 0)/' --test crash found_
mutant reserve-not-kept-at-open src/log/files.rs 's/if filled \|\| !stock.had_reserve \{/if true {/' --test crash found_zero
mutant reserve-not-kept-at-close src/log/close.rs 's/drop\(self.files.fill_some_reserve\(.*\)\);//' --test crash found_zero
mutant part-of-a-reserve-is-given-up src/manifest.rs 's/there.len == RESERVE_SIZE \|\| there.held > 0 =>/there.len == RESERVE_SIZE =>/' --test crash found_zero
mutant reserve-was-never-there src/log/recover.rs 's/had_reserve: names.iter\(\).any\(.*\),/had_reserve: false,/' --test crash found_zero
mutant cancel-is-not-heard src/progress.rs 's/ControlFlow::Break\(\(\)\) => Err\(Error::Cancelled\)/ControlFlow::Break(()) => Ok(())/' --test progress
mutant no-word-while-marks-are-looked-for src/walk.rs 's/told\(at\)\?;//' --test progress
mutant observer-hold-ignored src/log/catalog.rs 's/Arc::strong_count\(&self.hold\) > 1/false/' --test observer
mutant own-thread-joined src/log/syncer.rs 's/thread.filter\(\|thread\| .*\) \{$/thread {/' --test observer an_observer_may_close
mutant sealed-told-twice src/log/tell.rs 's/upkeep.newest_sealed = id;//' --test observer each_change
mutant hurried-past-not-told src/log/tell.rs 's/None => slot.end\(\).filter\(.*\),/None => None,/' --test observer each_change
interleaved failure-told-twice src/log/engine.rs 's/if is_first \{/if true {/' p6_of_two
mutant full-told-each-time src/log/tell.rs 's/full.filter\(\|_\| !upkeep.full\)/full/' --test observer p7
mutant close-does-not-wait src/log/handle.rs 's/engine.health.delivery.drain\(\);//' --test observer all_is_told
mutant panic-of-an-observer-ours src/log/delivery.rs 's/drop\(delivered\);/if let Err(panic) = delivered { std::panic::resume_unwind(panic) }/' --test observer a_panic
mutant told-out-of-order src/log/delivery.rs 's/items.pop_front\(\)/items.pop_back()/' --test callbacks what_is_queued
mutant sealed-before-called-found src/log/tell.rs 's/false => News::Found\(segment\)/false => News::Sealed(segment)/' --test observer an_open
mutant failed-append-counted src/log/meter/mod.rs '/fn appended/,/^        }/ s/begun.filter\(\|_\| counts\)/begun/' --test measured each_call
mutant claimed-length-believed src/typed/bounded.rs '/fn deserialize_string/,/^    }/ s/self.inner.deserialize_str\(/self.inner.deserialize_string(/' --test typed p11_a_claimed
mutant hint-believed src/typed/bounded.rs 's/hint.map\(\|count\| count.min\(self.bounds.len\)\)/hint/' --test typed p11_memory
mutant elements-not-counted src/typed/bounded.rs 's/if self.counted \{ self.bounds.element\(\) \} else \{ Ok\(\(\)\) \}/Ok(())/' --test typed p11_elements
mutant depth-not-bounded src/typed/bounded.rs 's/const MAX_DEPTH: usize = 128/const MAX_DEPTH: usize = 1 << 40/' --test typed p11_nesting
mutant depth-not-given-back src/typed/bounded.rs 's/^        self.depth.set\(left \+ 1\);//' --test typed p11_nesting
mutant rest-of-a-record-overlooked src/typed/with_bincode.rs 's/if read == bytes.len\(\)/if read <= bytes.len()/' --test typed bytes_behind
mutant schema-not-looked-at src/typed/with_bincode.rs 's/other => Err\(UnknownSchema\(other\).into\(\)\)/_ => Bincode::read(bytes)/' --test typed is_no_value
mutant schema-overwritten src/typed/mod.rs 's/if buffer.get\(start\) != Some\(&schema\)/if false/' --test typed replaces
mutant other-bincode src/typed/with_bincode.rs 's/bincode::config::standard\(\)/bincode::config::standard().with_big_endian()/' --test typed bytes_of_bincode
mutant buffer-not-emptied src/typed/buffer.rs 's/^    buffer.clear\(\);//' --test typed values
mutant interval-forgotten src/log/worker.rs 's/=> much \|\| last_sync.elapsed\(\) >= every,/=> much,/' --test background without_a_commit
mutant old-format-forgotten src/format/frame.rs 's/Kind::Part => 2,/Kind::Part => 5,/; s/2 => Some\(Kind::Part\)/5 => Some(Kind::Part)/' --test golden
mutant reader-manifest-not-read-again src/inspect/beside/newest.rs 's/if view::says_the_same\(&self.view, &now, self.index\) \{ Err\(error\) \}/if now.generation > 0 { Err(error) }/' --test reader
mutant reader-durable-elsewhere-believed src/inspect/beside/pause.rs 's/entry.is_some_and\(\|entry\| durable < entry.base \+ entry.size\)/entry.is_some()/' --test reader p1_
mutant reader-end-frame-not-believed src/inspect/beside/newest.rs 's/\(None, Some\(there\)\) => there == 0,/(None, Some(_)) => false,/' --test reader gone
mutant reader-position-behind-a-cut-taken src/inspect/beside/mod.rs 's/if bound.is_some_and\(\|bound\| self.from > entry.base \+ bound\) \{/if false \&\& bound.is_some_and(|bound| self.from > entry.base + bound) {/' --test reader gone
mutant reader-position-where-a-page-ends-taken src/reader/position.rs 's/within == 0 \|\| within == DATA_START/within % DATA_START == 0/' --test reader p2_a_position_that
mutant cut-before-a-roll-not-seen src/walk.rs 's/Step::Frame \{ .. \} => return Ok\(true\)/Step::Frame { .. } => return Ok(false)/' --test reader p2_a_position_behind
mutant reader-start-behind-a-cut-taken src/inspect/beside/newest.rs 's/&& !view::holds\(&now, self.from - 1\)/\&\& false/' --test reader p2_a_follower_that
mutant watermark-not-written-by-pwrite src/watermark.rs 's/self.file.write_at\(&sector, at as u64\).unwrap_or_default\(\);//' --test reader pwrite
mutant reader-shows-what-is-published src/reader/follow.rs 's/let \(watch, until\) = \(None, Until::Durable\);/let (watch, until, mut walk) = (None, Until::Durable, walk); walk.set_until(Until::Published);/' --test reader p1_
mutant reader-jumps-anywhere src/inspect/beside/mod.rs 's/\|\| matches!\(scan.step\(\), Ok\(Step::Frame \{ .. \}\)\);/|| scan.step().is_ok();/' --test reader
interleaved reader-payload-read-again src/segment/scan.rs 's/^        Ok\(Step::Frame \{ offset: at, head \}\)$/        self.window.filled = 0; self.window.get(at + frame::HEADER_LEN, head.len as usize)?; Ok(Step::Frame { offset: at, head })/; s/let rest = self.window.held_from\(at\)\?;/let rest = self.window.held_from(u64::MAX)?;/' recycled_under
mutant kept-from-the-watermark src/inspect/kept.rs 's/let from = view\.noted\.max/let from = view.durable.max/' --test pieces what_is_kept_is_what
mutant kept-of-the-manifest-alone src/inspect/beside/mod.rs 's/\(\&mut self\.notes, Note::decode\(payload\)\)/(\&mut None::<LastNotes>, Note::decode(payload))/' --test pieces what_is_kept_is_what
mutant evidence-behind-a-hole-passed-over src/walk.rs 's/data\.start < range\.end\) else/data.start <= at) else/' --test sparse p5_what_vouches
mutant evidence-right-behind-a-hole-passed-over src/walk.rs 's/at = at\.max\(data\.start\);/at = at.max(data.start + 8192);/' --test sparse p5_what_vouches
mutant frames-behind-a-hole-passed-over src/inspect/salvage/source.rs 's/let start = data\.start\.clamp\(at, to\);/let start = if data.start > at { to } else { at };/' --test sparse frames_are
mutant behind-the-end-of-the-file-as-never-written src/inspect/salvage/source.rs '/fn worth_reading/,/^    }/s/let to = to\.min\(self\.len\);//' --test fuzz_corpus p11
mutant frames-run-after-a-writer src/inspect/salvage/frames.rs 's/self\.chased > CHASES/self.chased > CHASES << 20/' --test sparse a_writer
mutant tail-silent-at-damage cli/src/tail.rs 's/break Ok\(damage\.map_or\(Ok\(\(\)\), Err\)\)/break Ok({ drop(damage); Ok(()) })/' -p duralog-cli --test cli p5_damage_behind
mutant unreadable-taken-for-lost src/inspect/salvage/plan.rs 's/Err\(e\) if is_of_the_caller\(\&e\) =>/Err(e) if is_of_the_caller(\&e) \&\& name.is_empty() =>/' -p duralog-cli --test cli p5_who_may
mutant active-segment-by-the-manifest cli/src/map.rs 's/segment\.state != SegmentState::Sealed;/segment.state != SegmentState::Sealed \&\& segment.end.is_none();/' -p duralog-cli --test cli p5_damage_in_the_active
mutant picture-over-anything cli/src/target.rs 's/is_file\(\) \&\& is_picture/is_file() || is_picture/' -p duralog-cli --test cli no_map
mutant deep-stops-at-damage src/inspect/salvage/deep.rs 's/Found::Gap\(gap\) => part\.damage\.push\(gap\),/Found::Gap(_) => break,/' --test pieces p5_a_deep
mutant deep-passes-over-what-is-open src/inspect/salvage/deep.rs 's/Some\(Error::Corrupt\(at\)\) => damage\.push\(Gap::of\(\*at\)\),/Some(Error::Corrupt(_)) => {}/' --test pieces p5_a_deep
mutant rebuilt-goes-on-where-segments-may-be-gone src/inspect/salvage/plan.rs 's/\(end \+ UNSEEN\)\.min/end.min/' -p duralog-cli --test cli p5_a_lost
mutant rebuilt-of-a-log-that-lacks-more src/inspect/salvage/rebuild.rs 's/\|\| !salvage\.finds_all\(\)/|| { salvage.finds_all(); false }/' --test pieces p5_a_log
mutant rebuilt-without-notes src/inspect/salvage/rebuild.rs 's/notes: notes\.clone\(\),/notes: Notes::default(),/' --test pieces p2_a_rebuilt
mutant rebuilt-over-a-cut "src/inspect/salvage/rebuild.rs src/inspect/salvage/mod.rs" 's/if !files\.is_empty\(\) \&\& led_to != Some\(identity\.id\) \{/if files.len() > usize::MAX - 1 \&\& led_to != Some(identity.id) {/; s/if says \|\| self\.plan/if says || self.index < usize::MAX || self.plan/' --test rebuilt p2_what_was_cut
mutant end-that-is-missing-not-told src/inspect/salvage/mod.rs 's/if says \|\| self\.plan/if says || self.index < usize::MAX || self.plan/' --test rebuilt p5_a_segment_in
mutant spare-file-says-nothing src/log/files.rs 's/ \&\& f\.write_at\(\&SPARE_MAGIC, 0\)\.is_ok\(\)/ \&\& !SPARE_MAGIC.is_empty()/' --test rebuilt a_log_with_spare
mutant run-of-a-pulse-not-asked src/reader/sync_stats.rs 's/if now\.run != before\.run \{/if now.run != before.run \&\& now.syncs > u64::MAX - 1 {/' --test looks a_writer
mutant torn-tail-shown-as-free src/inspect/salvage/frames.rs 's/planned\.ends == Ends::Open \&\& !walk/planned.ends == Ends::Unused \&\& !walk/' --test pieces a_torn
mutant pulse-of-the-sync-before src/format/watermark.rs 's/slots\.max\(\)\.map/slots.min().map/' -p duralog-cli --test cli what_the_writer
mutant repair-moves-no-consumer cli/src/repair.rs 's/\*position <= old\)/*position == old)/' -p duralog-cli --test cli p5_consumers
mutant salvage-search-begins-late src/inspect/salvage/walk.rs 's/from \+ ALIGN, self\.limit/from + 64, self.limit/' --test salvage
mutant salvage-rest-of-a-batch-as-records src/inspect/salvage/mod.rs 's/!whole \|\| lost == Lost::Known\(Kind::Part\)/!whole/' --test salvage p3
mutant salvage-first-behind-a-gap-as-a-record src/inspect/salvage/mod.rs 's/(Lost::Unknown if walk\.confirms\(spot\.end\(\)\) => )Some\(Doubt::AfterGap\)/\1None/' --test salvage p3
mutant salvage-alone-as-confirmed src/inspect/salvage/mod.rs 's/Lost::Unknown => Some\(Doubt::Alone\)/Lost::Unknown => None/' --test salvage p3
mutant salvage-leftovers-as-records src/inspect/salvage/mod.rs 's/Ends::Leftover => Some\(Doubt::Leftover\)/Ends::Leftover => None/' --test salvage what_a
mutant salvage-beyond-the-end-as-records src/inspect/salvage/mod.rs 's/_ if self\.ended => Some\(Doubt::BeyondEnd\)/_ if self.ended => doubt/' --test salvage what_was
mutant salvage-without-evidence src/inspect/salvage/mod.rs 's/self\.report\.committed\(vouched\);/let vouched = 0; self.vouched = 0;/' --test salvage p5_of_an_open
mutant salvage-takes-an-old-manifest src/inspect/salvage/plan.rs 's/match stale::why_old\(.*\) \{/match None::<String> {/' --test salvage an_old
mutant salvage-kind-of-a-mark-believed src/inspect/salvage/source.rs 's/let is_record = !matches!\(.*\);/let is_record = own > 0;/' --test salvaged p3
mutant salvage-hands-out-unchecked src/inspect/salvage/source.rs 's/\.filter\(\|payload\| frame::is_valid\(spot\.head, payload, here\)\)//' --test salvaged p5_what_a
mutant salvage-checks-without-credit src/inspect/salvage/source.rs 's/self\.credit -= len;/self.credit -= 0;/' --lib salvage
mutant salvage-sums-not-shifted src/inspect/salvage/source/sums.rs 's/checksum::shifted\(begun \^ before, head\.len\)/(begun ^ before)/' --lib salvage
mutant salvage-unreadable-as-zeros src/inspect/salvage/source.rs 's/!self\.bad\.is_empty\(\) \&\& self\.is_bad\(offset\.\.end\)/false/' --lib salvage
mutant reader-gives-the-last-of-a-batch-alone src/inspect/reader.rs 's/self\.ready = kept\.\.end/self.ready = kept.max(offset)..end/' --test shipped
mutant reader-keeps-nothing-of-a-batch src/inspect/reader.rs 's/let done = self\.keep\.min\(offset\)/let done = offset/' --test shipped
mutant ticket-at-the-end src/log/ticket.rs 's/if self\.durable\(\) >= need/if self.end() >= need/' --test tickets the_waker_of
mutant ticket-cut-ignored src/log/ticket.rs 's/let cut = self\.cuts\(\) != cuts/let cut = false/' --test tickets a_cut_wakes
mutant ticket-entry-left src/log/ticket.rs 's/drop\(engine\.leave\(What::Durable, key\)\)/let _ = key/' --test tickets a_dropped_ticket
mutant dropped-log-still-syncs src/log/commit.rs 's/if self\.health\.is_over\(\)/if false/' --test tickets a_ticket_of_a_dropped
mutant cut-tells-no-one src/log/retain.rs 's/self\.tell_due\(\);//' --test tickets a_cut_wakes
mutant thread-joins-itself src/log/syncer.rs 's/thread\.filter\(\|thread\| .*\)/thread/' --test tickets a_callback_may_close
mutant callback-panic-passed-on src/log/delivery.rs 's/drop\(delivered\);/if let Err(panic) = delivered { std::panic::resume_unwind(panic) }/' --test tickets a_callback_that_panics
mutant follower-passes-a-cut src/log/follow/advance.rs 's/if slot\.is_none_or\(.*\) \{ Ok/if true { Ok/' --test follow p2_a_cut
mutant cut-slots-not-marked src/log/retain.rs 's/gone\.iter\(\)\.for_each\(.*set_end.*$//' --test follow p2_a_cut
mutant follower-passes-a-checkpoint src/log/follow/advance.rs 's/if next\.identity\(\)\.base > self\.at \&\& passed\(\)/if false \&\& passed()/' --test follow p10_a_checkpoint_past
mutant follower-takes-any-checkpoint src/log/follow/advance.rs 's/checkpoint\.load\(Ordering::Acquire\) > self\.shown/checkpoint.load(Ordering::Acquire) > 0/' --test follow p10_a_checkpoint_of
mutant durable-follower-shows-published src/log/follow/wait.rs 's/What::Durable => self\.engine\.durable\(\)/What::Durable => self.engine.end()/' --test follow it_shows_what
mutant follower-entry-left src/log/follow/wait.rs 's/drop\(engine\.leave\(self\.what, key\)\);/let _ = key;/' --test follow it_waits
interleaved ticket-looks-once src/log/ticket.rs 's/^        engine\.outcome\(need, self\.cuts\)$/        None/' p1_what_a_ticket
interleaved poison-not-rung src/log/engine.rs 's/self\.syncer\.ring\(\);//' p6_a_failure_ends_every_ticket
interleaved follower-position-behind-a-mark src/log/follow/mod.rs 's/base\(\) \+ place\.shown\)/base() + place.standing.offset)/' p2_a_follower
interleaved published-followers-forgotten src/log/waiters.rs 's/tail\.watched = !tail\.waiters\.is_empty\(\);//' followers_see
interleaved follower-looks-once src/log/follow/wait.rs 's/let woken = self\.has_moved\(\) \|\| parker/let woken = parker/' followers_see
mutant retention-asks-before-the-lock src/log/upkeep.rs 's/self.free_below\(upkeep, Some\(lsn\), true\)/self.free_below(upkeep, Some(lsn), false)/' --test holding p10_where
mutant age-ignored src/log/retention.rs 's/since > age/age.is_zero() \&\& since > age/' --test retention p10_what_is_too_old
mutant cap-not-asked src/log/upkeep.rs 's/^        self\.make_room\(upkeep, true\)\?;//' --test retention p10_a_log_that_drops
mutant dropped-for-nothing src/log/retention.rs 's/if !slot\.is_read\(\) \&\& told\(&slot\)/if told(\&slot)/' --test retention p10_what_readers
mutant spare-files-above-the-cap src/log/files.rs 's/while others \+ bytes\(stock\) > cap/while false \&\& others + bytes(stock) > cap/' --test retention p10_a_smaller_cap
mutant no-directory-sync-after-the-manifest src/manifest.rs 's/directory.sync\(\).map_err\(\|e\| unknown\("fsync of the directory", e\)\)/Ok(())/' -p duralog-cli --test directory_sync
mutant no-directory-sync-after-create src/log/files.rs 's/\.and_then\(\|file\| sync_name\(\)\.map\(\|\(\)\| file\)\)//' -p duralog-cli --test directory_sync
mutant no-directory-sync-after-recycling src/log/files.rs 's/sync_name\(\)\.and_then\(/Ok(()).and_then(/' -p duralog-cli --test directory_sync
mutant no-sync-of-its-own-name src/storage/disk.rs 's|Ok\(parent\) => sync_entry_of.*|Ok(_) => Ok(()),|' -p duralog-cli --test directory_sync
mutant segments-kept-open src/log/catalog.rs 's/\*open = Open::Loose\(weak\);/drop(weak);/' --test memory
mutant poison-forgotten src/log/engine.rs 's/self.ended.store\(true, Ordering::Release\);//; s/self.failure.get_or_init\(\|\| Arc::new\(error\)\)/Arc::new(error)/; s/Arc::clone\(&?Arc::new\(error\)\)/Arc::new(error)/' -p duralog-cli --test failed_sync
mutant checksum-not-bound-to-the-lsn src/format/frame.rs 's/seed \^ position, word/seed, word/' --lib
mutant salt-not-renewed src/log/files.rs 's/salt: crate::format::u64_at.*$/salt: 0,/; s/log_id: self.log_id,\s*$/log_id: self.log_id,/' --test promises salt
mutant batch-end-not-checked src/segment/verdict.rs 's/stop.open_batch.unwrap_or\(stop.at\)/stop.at/' --test promises p3
mutant marks-not-written src/log/append.rs 's/let mark_due = tail.marked < durable;/let mark_due = false;/' --test promises p5
mutant marks-not-looked-for src/walk.rs 's/vouched_to = vouched_to.max\(here\);//' --test promises p5
mutant torn-tail-appended-behind src/log/find_end.rs 's/at = entry.base \+ end;/at = entry.base + end + 8;/' --test promises
mutant cut-in-memory-only src/log/retain.rs 's/self.write_manifest_locked\(upkeep, &change, &tail\)\?;//' --test truncate
mutant pins-ignored src/log/catalog.rs 's/weak.strong_count\(\) > 0/false/' --test promises p10
mutant checkpoint-frees-too-much src/log/retain.rs 's/retire_below\(first_kept\)/retire_below(first_kept + 1)/' --test promises p10
mutant no-lock src/storage/disk.rs 's/Err\(Errno::WOULDBLOCK\) => Ok\(false\)/Err(Errno::WOULDBLOCK) => Ok(true)/' --test promises p8
mutant links-followed src/storage/disk.rs 's/ \| OFlags::NOFOLLOW \| OFlags::NONBLOCK/ | OFlags::NONBLOCK/' --test promises p12
mutant world-readable src/storage/disk.rs 's/Mode::RUSR \| Mode::WUSR\)/Mode::RUSR | Mode::WUSR | Mode::RGRP)/' --test promises p12
mutant stale-manifest-trusted src/stale.rs 's/Ok\(if is_at_a_frame\(&mut scan\)\? \{ Unnamed::Newer \} else \{ Unnamed::Free \}\)/Ok(Unnamed::Free)/' --test stale p5_a_manifest
mutant size-not-checked src/segment/file.rs 's/status.len == identity.size/true/' --test damage
inspect="--test inspect"
mutant damage-beside-a-writer-ends-the-walk src/inspect/beside/newest.rs '/fn fail/,/^    }/ s/\{ Err\(error\) \} else \{ self.adopt\(now\) \}/{ Err(error) } else { self.finish(Tail::Unclean { at: Lsn::new(self.end) }); Ok(Then::GoOn) }/' $inspect
mutant end-not-confirmed src/inspect/beside/newest.rs 's/if same && self.begun == self.end/if true/' $inspect whatever_happens
mutant watermark-not-asked-again src/inspect/beside/newest.rs 's/ && now.durable <= self.end//' $inspect p5_damage_to_what
mutant cut-beside-a-walk-is-damage src/inspect/beside/newest.rs '/fn fail/,/^    }/ s/view::says_the_same\(.*index\)/true/' $inspect a_cut
mutant recovery-beside-a-walk-is-damage src/inspect/beside/newest.rs '/fn fail/,/^    }/ s/view::says_the_same\(.*index\)/true/' $inspect a_recovery
mutant stale-read-is-damage src/inspect/beside/mod.rs 's/ && has_gone_on\(&mut scan, stop\)/ \&\& false/' $inspect what_was_appended
mutant cut-records-shown-in-silence src/inspect/beside/newest.rs 's/!view::holds\(&now, \*last\)/false/' $inspect a_cut
mutant freed-records-skipped-in-silence src/inspect/beside/newest.rs 's/ \|\| \(view::base\(&now, 0\) > base && passed\)//' $inspect p5_a_segment
mutant interrupted-recovery-is-clean src/inspect/beside/mod.rs 's/return self.settle\(Tail::Unclean .*\);/return self.settle(Tail::Clean);/' $inspect an_interrupted
mutant walk-runs-after-the-writer "src/inspect/beside/mod.rs src/inspect/beside/newest.rs" 's/if self.has_chased_enough\(\)/if false/' --test reader a_replay_beside
mutant walk-goes-on-behind-an-error src/inspect/beside/mod.rs 's/if self.until == Until::End \{/if self.until == Until::End \&\& self.done {/' $inspect behind_an_error
mutant opened-again-yet-clean src/inspect/beside/newest.rs '/fn settle/,/^    }/ s/if !view::ends_the_same\(.*index\)/if false/' $inspect opened_again

# On the simulated disk: what only a power cut, a failing call or damage at the right moment shows.
sim="--test crash"
mutant rolled-segment-not-synced src/log/commit.rs 's/for segment in &rolled \{/for segment in rolled.iter().skip(1) {/' $sim power_cut
mutant active-segment-not-synced src/log/commit.rs 's/if end > active.base\(\) \+ DATA_START \{/if rolled.is_empty() \&\& end > active.base() + DATA_START {/' $sim power_cut
mutant rolled-segment-forgotten src/log/append.rs 's/tail.unsynced.push\(.*\);//' $sim power_cut
mutant mark-before-the-sync src/log/append.rs 's/let durable = self.durable\(\);/let durable = tail.writer.lsn();/' $sim power_cut
mutant watermark-before-the-sync src/log/commit.rs 's/watermark.note\(end\)/watermark.note(self.end() + 8)/' $sim power_cut
mutant watermark-not-kept src/log/commit.rs 's/noted = state.watermark.*$//; s/, mut noted,/, noted,/; s/\(false, None, None\);/(false, None::<u64>, None);/' $sim bit_rot
mutant seal-before-the-sync src/log/change.rs 's/end.filter\(\|end\| \*end <= durable\)/end/' $sim power_cut
mutant recovered-tail-not-synced src/log/find_end.rs 's/file.sync\(\).map_err\(\|e\| Error::io\("fdatasync", &path, e\)\)\?;//' $sim power_cut
mutant cache-trusted-at-open src/log/find_end.rs 's/file.drop_cache\(\).*;//; s/Access::Direct/Access::Read/' $sim faults
mutant failed-sync-retried src/log/commit.rs 's/self.files.sync\(&active, dirty, false\)/self.files.sync(\&active, dirty.clone(), false).or_else(|_| self.files.sync(\&active, dirty, false))/' $sim faults
mutant failed-sync-of-a-rolled-segment-ignored src/log/commit.rs 's/self.files.sync\(segment, dirty, true\).map_err\(\|e\| self.health.poison\(e\)\)\?;/drop(self.files.sync(segment, dirty, true));/' $sim faults
mutant manifest-not-synced src/manifest.rs 's/file.sync\(\).map_err\(\|e\| Error::io\("fdatasync", &path, e\)\)$/Ok(())/' $sim enumerated
mutant manifest-rename-not-synced src/manifest.rs 's/directory.sync\(\).map_err\(\|e\| unknown\("fsync of the directory", e\)\)/Ok(())/' $sim enumerated
mutant new-segment-not-synced src/segment/file.rs 's/\.and_then\(\|\(\)\| file.sync\(\).map_err\(.*\)\)$//' $sim enumerated
mutant recycled-header-not-synced src/segment/file.rs '/fn recycle/,/warm/ s/file.sync\(\).map_err\(.*\)\?;//' $sim enumerated
mutant new-name-not-synced src/log/files.rs 's/\.and_then\(\|file\| sync_name\(\)\.map\(\|\(\)\| file\)\)//' $sim enumerated
mutant ftruncate-for-fallocate src/segment/file.rs 's/\.allocate\(identity.size\)/.allocate(0)/; s/for at in \(0\.\.identity.size\)\.step_by\(PAGE\)/for at in [identity.size - 4096]/' $sim power_cut
mutant used-before-it-is-named src/log/upkeep.rs 's/if let Err\(error\) = self.write_manifest\(upkeep, &change\) \{/if let Err::<(), _>(error) = Ok(drop(change)) {/' $sim power_cut
mutant checkpoint-frees-before-the-manifest src/log/retain.rs 's/let manifest = self.write_manifest\(upkeep, &change\)\?;//; s/let first_kept = manifest.segments.*;/let checkpoint = to.unwrap_or(0).max(self.checkpoint.load(Ordering::Acquire)); let first_kept = self.catalog.find(checkpoint).map_or(0, |slot| slot.identity().base);/; s/let checkpoint = manifest.checkpoint;//; s/let \(segments, bytes\) = self.release_retired\(upkeep\)\.0;/let (segments, bytes) = self.release_retired(upkeep).0; self.write_manifest(upkeep, \&change)?;/' $sim enumerated
mutant clean-end-left-in-the-manifest src/log/recover.rs 's/ \|\| old.clean_end.is_some\(\)//' $sim power_cut
mutant cut-not-synced src/log/retain.rs 's/for segment in kept \{/for segment in kept.take(0) {/' $sim power_cut
mutant window-used-twice src/log/recover.rs 's/next_base: manifest.next_base,/next_base: manifest.segments.last().map_or(0, |e| if e.end > 0 { (e.end + 4095) \& !4095 } else { manifest.next_base }),/' $sim power_cut
mutant spoiled-segment-used src/log/append.rs 's/ && !tail.spoiled//' $sim found
mutant spoiled-segment-closed src/log/close.rs 's/if self.tail.lock\(\).spoiled/if false/' $sim found
mutant group-found-though-it-failed src/segment/writer.rs 's/if at \/ DATA_START != last \/ DATA_START/if false/' $sim found
mutant reserve-spent-on-segments src/log/change.rs 's/change.checkpoint.is_some\(\) \|\| change.clean_end.is_some\(\)/true/' $sim does_not_take
mutant unreadable-taken-for-the-end src/segment/scan.rs 's/self.file.read_at\(to, self.start\).map_err\(\|e\|/self.file.read_at(to, self.start).or_else(|_| Ok(0)).map_err(|e: io::Error|/' --test real_fs unreadable
mutant stores-on-xfs src/storage/safety.rs 's/_ => Ok\(false\)/_ => Ok(true)/' --test real_fs failing
mutant number-given-twice examples/crash_driver/driver.rs '/fn append\(/,/^    }/ s/if self.failed.load\(Ordering::Acquire\)/if false/' --example crash_driver
mutant mapped-file-recycled src/segment/file.rs 's/status.links == 1 && !is_mapped\(status.id\)/status.links == 1/' $sim found
mutant mapped-file-punched src/log/recover.rs 's/if !is_ours_alone\(&status\)/if status.links > 1/' $sim found
mutant held-space-not-given-back src/log/upkeep.rs 's/drop\(self.release_retired\(&mut upkeep\)\);//' $sim found
mutant another-segment-followed src/segment/verdict.rs 's/if next == Some\(named\)/if next.is_some()/' --lib
mutant marks-believed-without-a-checksum src/segment/scan.rs 's/head.is_some_and\(\|head\| frame::is_valid\(head, payload, here\)\)/head.is_some()/' $sim found
mutant open-batch-replayed src/segment/scan.rs 's/self.open_batch.get_or_insert\(at\);//' $sim power_cut
mutant full-disk-poisons src/log/engine.rs 's/Error::Full \{ \.\. \} => true,/Error::Full { .. } => false,/' $sim found
mutant marks-of-later-segments-not-looked-for src/walk.rs 's/skip\(index \+ 1\) \{/skip(index + 1).take(0) {/' $sim bit_rot
mutant marks-looked-for-too-late src/walk.rs 's/cut_of\(stop\)\.\.entry.size/cut_of(stop) + 512..entry.size/' $sim right_behind
mutant watermark-not-read src/manifest.rs 's/manifest.durable = manifest.durable.max\(durable\);//' $sim bit_rot
mutant one-slot-read src/format/watermark.rs 's/read\(bytes, at, log_id\)\)\.max\(\)/read(bytes, at, log_id)).next()/' $sim bit_rot
mutant manifest-no-evidence src/walk.rs 's/let mut vouched_to = manifest.durable;/let mut vouched_to = 0;/' $sim bit_rot
mutant evidence-off-by-a-frame src/walk.rs 's/vouched_to > entry.base \+ cut_of\(stop\)\)/vouched_to > entry.base + cut_of(stop) + 64)/' $sim bit_rot
mutant damage-named-elsewhere src/segment/verdict.rs 's/^            at: cut,$/            at: 4096,/' $sim bit_rot
mutant refused-yet-changed src/log/recover.rs 's/    let found = match manifest.clean_end/    drop(manifest::remove_if_there(\&*files.directory, manifest::RESERVE));\n    let found = match manifest.clean_end/' $sim bit_rot
mutant msync-begins-too-late src/log/commit.rs 's/durable.saturating_sub\(active.base\(\)\)\.\./(durable + 4096).saturating_sub(active.base())../' $sim faults
mutant msync-of-a-rolled-segment-too-short src/log/commit.rs 's/\.\.segment.published\(\);/..segment.published() \/ 2;/' $sim faults
mutant step-after-the-end src/log/upkeep.rs '/pub\(crate\) fn step/,/First: on/ s/self.health.check\(\)\?;//' $sim faults
interleaved no-one-is-woken src/log/commit.rs 's/^        self.group.synced.notify_all\(\);//' p1_
interleaved woken-too-early src/log/commit.rs '/fn stop_leading/,/^    }/ { s/^        self.group.synced.notify_all\(\);//; s/let mut state = /self.group.synced.notify_all(); &/ }' p1_
interleaved asleep-without-a-look src/log/commit.rs 's/if \(state.led \|\| state.preferred > 0\) && self.durable\(\) < need \{/if true {/' p1_
interleaved durable-before-the-sync src/log/commit.rs 's/let synced = self.contain\(\|\| self.sync_everything\(begun\)\);/self.durable.store(self.end(), Ordering::Release); &/' p1_
interleaved rolled-segments-forgotten src/log/append.rs 's/tail.unsynced.push\(.*\);//' p1_
interleaved rolled-segments-not-synced src/log/commit.rs 's/for segment in &rolled \{/for segment in rolled.iter().take(0) {/' p1_
interleaved sealed-before-synced src/log/change.rs 's/end.filter\(\|end\| \*end <= durable\)/end/' p10
interleaved lock-order src/log/append.rs 's/let rolled = self.roll_tail\(&mut tail\);/let rolled = { let _upkeep = self.upkeep.lock(); self.roll_tail(\&mut tail) };/' p1_
interleaved failed-sync-tried-again src/log/commit.rs 's/\.map_err\(\|e\| self.health.poison\(e\)\)\?/?/' p6
interleaved freed-under-a-reader "src/log/catalog.rs src/log/files.rs" 's/weak.strong_count\(\) > 0/false/; s/&& !is_mapped\(status.id\)//' p10
interleaved freed-though-named src/log/retain.rs 's/retire_below\(first_kept\)/retire_below(self.catalog.oldest().take_while(|slot| slot.end().is_some_and(|end| end <= checkpoint)).last().map_or(first_kept, |slot| slot.limit()))/' p10
interleaved told-before-the-end src/log/engine.rs '/let cause = self.failure.get/,/Some/s/self.ended.store.*$//' p6
interleaved full-yet-not-sealed src/log/commit.rs 's/seals_due = rolled;/seals_due = false;/' p9
interleaved cut-beside-a-roll src/log/retain.rs '/fn cut_at/,/^    }/ s/if tail.ready.is_empty\(\)/if false/' p2
interleaved cut-not-told src/log/commit.rs 's/self.group.cuts.fetch_add\(1, Ordering::AcqRel\);//' p2
interleaved checkpoint-after-a-close src/log/retain.rs '/Again: a close may/,/health.check/ s/self.health.check\(\)\?;//' close
interleaved cut-after-a-close src/log/retain.rs '/fn truncate_after/,/cut_position/ { /upkeep.lock/,/health.check/ s/self.health.check\(\)\?;// }; /fn cut_at/,/^    }/ s/self.health.check\(\)\?;//' close
interleaved append-beside-a-close src/log/close.rs 's/let _tail = self.tail.lock\(\);//' close
interleaved end-before-the-bytes src/log/append.rs '/fn publish/,/^    }/ s/if let Err\(error\) = tail.writer.publish/self.end.store(tail.writer.lsn(), Ordering::Release); &/' readers
interleaved batch-in-parts src/log/append.rs 's/lsns.push\(Lsn::new\(tail.writer.put\(kind, payload\)\)\);/&; drop(self.publish(\&mut tail));/' readers
interleaved full-is-the-end src/log/engine.rs 's/Error::Full \{ .. \} => true,/Error::Full { .. } => false,/' p7
mutant batch-asked-under-the-lock src/log/append.rs '/fn append_many/,/^    }/ { s/let payloads: Vec<.*$//; s/for payload in &payloads/for payload in payloads/; s/check_size\(payload\)/check_size(payload.as_ref())/; s/frame_len\(payload.len\(\)\)/frame_len(payload.as_ref().len())/; s/put\(kind, payload\)/put(kind, payload.as_ref())/; s/payload.len\(\) as u64/payload.as_ref().len() as u64/ }' --test found p3
mutant head-beyond-durable src/log/retain.rs 's/self.raise_durable\(first_kept \+ DATA_START\);//' --test found positions
mutant held-forgotten src/log/retain.rs 's/self.signal.wake\(\); \/\/ it looks.*$//' --test found p10
mutant holes-stored-into src/segment/file.rs 's/if way.stores\(\) && blocks.allocated < identity.size/if false/' --test found holes
mutant lock-left-to-a-child src/storage/disk.rs 's/fs::flock\(&\*self.directory, FlockOperation::Unlock\).unwrap_or_default\(\);//' --lib the_lock
mutant cached-manifest-trusted src/log/recover.rs 's/^    disk.sync\(\).map_err.*$//' $sim only_the_cache
mutant reserve-not-refilled src/log/upkeep.rs 's/self.refill_reserve\(upkeep\)\?;//' $sim one_checkpoint
mutant segment-left-behind src/log/recover.rs 's/if matches!\(error, Error::Full \{ \.\. \}\) \{/if false {/' $sim leaves_no_segment
interleaved read-behind-a-close src/log/read.rs '/Behind a close the file/,/^        }/ s/self.health.is_closed\(\)/false/' p10_a_read
interleaved leader-behind-a-close src/log/close.rs 's/self.while_leading\(\|\| Ok\(None\)\)\?;//' a_close_beside_a_failure
interleaved durable-goes-back src/log/commit.rs 's/self.durable.fetch_max\(to, Ordering::AcqRel\);/self.durable.store(to, Ordering::Release);/' p10_checkpoints
mutant reserve-kept-by-others src/manifest.rs 's/file.punch_hole\(0..RESERVE_SIZE\).unwrap_or_default\(\);//' --test real_fs has_open
mutant leftover-in-the-way src/log/files.rs 's/None => crate::manifest::remove_if_there\(&\*self.directory, &name\)/None => Ok(())/' $sim faults
mutant interrupted-recovery-called-clean src/log/recover.rs 's/None if is_new/None if is_new || manifest.segments.is_empty()/' $sim found
mutant spare-files-not-used src/log/upkeep.rs 's/ \|\| !stock.pool.is_empty\(\)//' $sim spare_files
mutant reserve-demanded-of-a-small-disk src/log/upkeep.rs 's/ \|\| !stock.had_reserve//' $sim smaller_than
mutant reserve-in-the-way src/log/recover.rs 's/^    manifest::release_reserve\(&\*files.directory\)\?;//' $sim in_the_way_of_an_open
mutant reserve-that-stays-poisons src/manifest.rs 's/drop\(remove_if_there\(directory, RESERVE\)\);/remove_if_there(directory, RESERVE)?;/' $sim cannot_be_removed
mutant hole-for-a-reserve src/manifest.rs 's/ && there.held >= RESERVE_SIZE//' --test found restored
mutant stale-look-believed src/inspect/beside/newest.rs 's/if same && self.begun == self.end/if same/' --test inspect_late
mutant shown-from-behind-a-hole src/inspect/beside/mod.rs 's/let index = index.min\(sealed\);//' --test inspect_late
mutant stored-where-it-is-cold src/segment/grain.rs 's/self.warm && flow.bytes/flow.bytes/' --lib grain
mutant stored-where-nothing-was-read src/segment/grain.rs 's/!self.is_bare\(at, end\) && //' --lib grain
mutant padded-over-the-next-page src/segment/grain.rs 's/end.next_multiple_of\(PAGE\).min\(self.bare.end\)/end.next_multiple_of(2 * PAGE)/' --lib grain
mutant lone-committer-waits src/log/gather.rs 's/self.left \+ self.woken.regulars/self.left + self.woken.all/' --lib gather
interleaved gathering-without-end src/log/gather.rs 's/ && since\(\) < until/ \&\& !since().is_zero()/' p1_leaders
mutant unwritten-block-durable src/segment/file.rs 's/if !self.proven.covers\(&dirty\)/if false/' $sim unwritten
mutant map-not-asked src/segment/blocks.rs 's/if blocks.written < range.end && blocks.written < blocks.allocated/if false/' $sim unwritten
mutant journal-not-asked src/segment/blocks.rs 's/file.probe_journal\(\).map_err/std::io::Result::Ok(()).map_err/' $sim unwritten
mutant filled-and-not-synced src/segment/file.rs 's/direct.sync\(\).map_err/std::io::Result::Ok(()).map_err/' $sim unwritten
mutant fresh-block-stored-into src/segment/grain.rs 's/if end <= self.fresh \|\| self.is_fine\(at, end\)/if end > 0 || self.is_fine(at, end)/' --lib grain
interleaved filled-under-an-appender src/segment/grain.rs 's/self.filling.is_some_and\(\|from\| end.min\(self.size\) > from\)/end > self.size \&\& self.filling.is_some()/' p1_what_is_filled
mutant zeros-searched src/format/mod.rs 's/Some\(\*block\) != ZEROS.get\(..block.len\(\)\)/!block.is_empty()/' --lib the_search_for_marks
mutant half-a-block-taken-for-all src/format/mod.rs 's/Some\(\*block\) != ZEROS.get\(..block.len\(\)\)/block.get(..2048) != ZEROS.get(..block.len().min(2048))/' --lib p5_a_search
mutant repair-of-smaller-records cli/src/main.rs 's/let fits = options.largest_record\(\);/let fits = options.largest_record() - 8;/' -p duralog-cli --test cli p5_a_record_that_fills
mutant import-of-the-default-alone cli/src/main.rs 's/=> any_record\(options\)/=> options/' -p duralog-cli --test cli what_export_wrote
mutant linked-file-recycled src/segment/file.rs 's/status.links == 1 && !is_mapped/!is_mapped/' --test environment p10_a_sealed
mutant linked-segment-appended-to src/segment/file.rs 's/if links > 1 \{/if false {/' --test environment p8_a_closed
mutant linked-watermark-stored-into src/watermark.rs 's/ && status.links == 1//' --test environment p10_neither
mutant linked-reserve-kept src/manifest.rs 's/Ok\(\(_, there\)\) if there.links > 1 => \{\}//' --test environment p10_neither
mutant linked-spare-file-recycled src/log/files.rs 's/\.is_ok_and\(\|status\| is_ours_alone\(&status\)\)/.is_ok()/' --test environment p10_a_spare
mutant linked-segment-punched src/log/recover.rs 's/Ok\(status\) if !is_ours_alone\(&status\) => Ok\(\(\)\),//' --test environment p1_what_is_behind
mutant linked-reserve-punched src/manifest.rs 's/file.status\(\).is_ok_and\(\|status\| status.links == 0\)/true/' --lib linked_elsewhere
mutant json-number-as-null src/typed/lossless.rs 's/match value.is_finite\(\)/match true/' --test typed_lossless json_takes_no_number
mutant json-some-as-none src/typed/lossless.rs 's/match value.serialize\(self\)\? \{/match value.serialize(self).map(|_| Said::Something)? {/' --test typed_lossless json_takes_no_some
mutant json-deeper-than-it-reads src/typed/lossless.rs 's/DEEPEST: u8 = 127/DEEPEST: u8 = 128/' --test typed_lossless nested
mutant json-floats-nearly Cargo.toml 's/features = \["float_roundtrip"\], //' --test typed_lossless bit_by_bit
mutant checked-and-not-compared src/typed/checked.rs 's/Ok\(same\) if same == \*value/Ok(_) if true/' --test typed_lossless a_checked_codec
mutant reader-in-the-log-not-named src/log/blockers.rs 's/let read = self.catalog.oldest\(\).take_while/let read = self.catalog.oldest().take(0).take_while/' --test cap at_the_cap
mutant cap-called-a-full-disk src/log/retention.rs 's/Error::full\(Limit::MaxBytes/Error::full(Limit::Disk/' --test cap a_log_at_its_cap
mutant used-up-called-a-full-disk src/manifest.rs 's/Limit::Format/Limit::Disk/' --test cap a_log_whose
mutant watermark-stored-into-under-pwrite src/watermark.rs 's/let stores = stores && directory.stores_are_safe\(\);/let stores = directory.stores_are_safe();/' --test environment p7_a_watermark
mutant replaced-segment-acknowledged-into src/segment/file.rs 's/Ok\(status\) => status.id == self.mapped.file\(\),/Ok(_) => true,/' --test environment p1_nothing
mutant name-not-checked src/log/files.rs 's/segment.check_name\(&\*self.directory\)/Ok(())/' --test environment p1_a_full
mutant clean-end-not-looked-at src/stale.rs 's/            Ok\(true\) => \{/            Ok(true) if end == u64::MAX => {/; s/Ok\(false\) | Err\(_\) => \{\}/_ => {}/' --test stale p5_an_older
mutant later-version-let-be src/stale.rs 's/if id >= manifest.next_id => \{/if id > u64::MAX - 1 => {/' --test stale p11_a_segment
mutant unreadable-removed src/stale.rs 's/Err\(_\) => return Ok\(Unnamed::Unknown\)/Err(_) => return Ok(Unnamed::Free)/' --test stale p11_what
mutant number-of-an-unreadable-taken src/log/files.rs 's/while stock.taken.contains\(&stock.next_id\)/while stock.taken.is_empty() \&\& stock.next_id == 0/' --test stale p11_what
mutant copy-of-a-segment-removed src/stale.rs 's/if is_named\(manifest, identity.id\) => return Ok\(Unnamed::Unknown\)/if is_named(manifest, identity.id) => return Ok(Unnamed::Free)/' --test stale p11_what
mutant interrupted-creation-left src/stale.rs 's/ \|\| first.iter\(\).all\(\|byte\| \*byte == 0\)//' --test stale p9_what
mutant other-log-taken-for-this-one src/stale.rs 's/if identity.log_id != manifest.log_id =>/if identity.log_id != identity.log_id =>/' --test stale a_segment_of
mutant reader-trusts-a-stale-manifest src/reader/mod.rs 's/view::current\(&\*self.directory\)/view::newest(\&*self.directory)/' --test stale p5_a_manifest
mutant follower-trusts-a-stale-manifest src/reader/position.rs 's/view::current\(disk\)/view::newest(disk)/' --test stale p5_a_manifest
mutant damage-appended-after src/log/recover.rs 's/^            check_before\(.*$//' --test stale p5_open
mutant damage-before-a-mark-appended-after src/log/find_end.rs 's/let \(end, mut from\) = \(end - entry.base, DATA_START\);/let end = end - entry.base; let mut from = end;/' --test stale p5_open
mutant lost-ready-segment-refused src/format/manifest.rs 's/self.clean_end.is_some\(\) && entry.state == State::Ready/false/' --test stale a_ready
mutant checkpoint-of-none-out-of-range src/extent.rs 's/ && at < checkpoint;/ \&\& (checkpoint == 0 || at < checkpoint);/' --test positions a_replay
mutant minimum-out-of-range src/extent.rs 's/from > Lsn::MIN && at < head/at < head/' --test positions a_replay
mutant head-of-nothing-is-zero src/inspect/summary.rs 's/Lsn::new\(manifest.head\(\)\)/Lsn::new(manifest.segments.first().map_or(0, |_| manifest.head()))/' --test positions p5_the_head
mutant failure-untold src/log/engine.rs 's/is_first = true;//' --test observer p6_the_failure
mutant callback-on-the-callers-stack src/log/waiters.rs '/fn enter_call/,/^    }/ s/self.health.delivery.call\(call, outcome\);/call(outcome);/' --test tickets a_callback_is_called_by
mutant syncs-not-made-one src/log/delivery.rs 's/if last.absorb\(news\) \{/if false {/' --test callbacks p9_syncs
mutant sync-told-after-its-callbacks src/log/commit.rs 's/^            self.health.delivery.note\(\|\| event\);//; s/^            due = self.take_due\(.*\);/&\n            self.health.delivery.note(|| event);/' --test callbacks a_callback_comes_after
mutant panic-does-not-poison src/log/contain.rs 's/let error = self.health.poison\(.*\);/let error = Error::Panicked { thread, message };/' --test callbacks p6_a_panic_of_a_thread_that_leads
mutant panic-ends-the-worker src/log/worker.rs 's/running.contain_thread\(\|_\| run\(&running\)\)/run(\&running)/' --test callbacks p6_a_panic_while
mutant outcome-forgotten src/log/ticket.rs 's/self.outcome = Some\(copy\(&outcome\)\);//' --test callbacks a_ticket_says
mutant lost-is-durable src/log/lost.rs 's/if !self.lost.contains\(lsn\) \|\| /if lsn > 0 || /' --test callbacks p1_what_was_durable
mutant durable-then-cut-is-lost src/log/lost.rs 's/let mut from = cut.max\(self.durable\(\)\);/let mut from = cut;/' --test callbacks p1_what_was_durable
mutant notes-lost-with-the-records src/log/lost.rs 's/tail.notes.frames_from\(from\)/tail.notes.frames_from(u64::MAX)/' --test callbacks p1_the_lsn_of_a_note
mutant durable-though-never-found src/log/lost.rs 's/ranges.push\(from..slot.identity\(\).base\);//' --test callbacks p1_what_an_instance
mutant oldest-cuts-forgotten src/log/lost.rs 's/next.start = oldest.start;/let _: \&mut Range<u64> = next;/' --test callbacks p1_p9_of_very_many
interleaved callback-looks-before-the-lock src/log/waiters.rs '/fn enter_call/,/^    }/ { s/let mut state = self.group.state.lock\(\);//; s/let key = state.waiters/let mut state = self.group.state.lock(); let key = state.waiters/ }' callbacks_and_events
mutant shortage-poisons src/log/engine.rs 's/source, \.\. \} => is_shortage\(source\),/.. } => false,/; s/Error::Io \{ \.\. \} => true,/Error::Io { .. } => false,/' --test environment descriptors
mutant locked-memory-ends-the-log src/storage/region.rs 's/(Advice::LinuxDontNeed\) \}).unwrap_or_default\(\)/\1.unwrap()/' --test environment locked
mutant refusal-is-final src/storage/safety.rs 's/    refused.contains\(&error\)/    false/' --test environment calls
mutant zeros-over-data src/storage/file.rs 's/if page == zeros/if true/' --test environment calls
mutant cache-to-be-dropped-though-passed src/log/find_end.rs 's/if !direct.map_err\(.*\)\?.passes_cache\(\)/if true/' --test environment calls
mutant zeros-without-a-word src/storage/disk.rs 's/self.by_zeros.store\(true/self.by_zeros.store(false/' --test environment calls
mutant warm-from-the-beginning src/segment/grain.rs 's/from.max\(at \/ PAGE \* PAGE\)/from/' --test warmed a_clean
mutant warm-all-at-once src/segment/file.rs 's/written.min\(from \+ WINDOW\)/written/' --test warmed in_pieces
mutant threads-without-segments src/inspect/salvage/deep.rs 's/threads.get\(\).min\(sealed.len\(\)\)/threads.get()/' --test looks p9_a_deep
mutant only-the-first-open-segment-synced src/log/find_end.rs 's/for entry in manifest.segments.iter\(\).filter\(open\) \{/for entry in manifest.segments.iter().filter(open).take(1) {/' $sim killed
mutant filled-for-stores-and-not-proven src/segment/file.rs '/fn open_to_write/,/^    }/ s/^ *check_written\(.*\)\?;//' $sim an_open_fills
mutant filled-ahead-and-not-proven src/segment/file.rs '/^    fn fill/,/^    }/ s/^ *check_written\(.*\)\?;//' --lib p1_what_is_filled
mutant waiters-taken-too-far src/log/waiters.rs 's/to.checked_add\(1\)/to.checked_add(9)/' --lib p6_whoever
mutant mark-of-a-refused-group-lost src/log/append.rs '/fn spoil/,/^    }/ s/tail.marked = 0;//' $sim the_mark_of_a_group
mutant floor-kept-after-full src/log/change.rs 's/inspect_err\(\|_\| self.tail.lock\(\).notes.floor = before\)/inspect_err(|_| ())/' $sim bars_no_consumer
interleaved leader-behind-a-drop src/log/close.rs '/fn end_for_good/,/^    }/ s/drop\(self.while_leading\(\|\| Ok\(None\)\)\);//' p8_a_drop
mutant files-stay-roots src/storage/disk.rs 's/^        self.directory.give_to_owner\(&fd\);//' --test environment p12
mutant parent-that-cannot-be-synced-fails src/storage/disk.rs 's/Err\(Errno::INVAL \| Errno::ROFS\)/Err(Errno::ROFS)/' --lib the_root_of_a_mount
mutant cut-leaves-consumers-in-the-manifest src/log/change.rs 's/^            notes.move_consumers\(&there\);//' --test holding takes_the_consumers
mutant cut-leaves-consumers-in-memory src/log/notes.rs 's/^        self.settled.move_consumers\(there\);//' --test holding takes_the_consumers
interleaved ack-beyond-a-cut src/log/catalog.rs 's/map_or\(position, \|end\| position.min\(end\)\)/map_or(position, |_| position)/' p2_no_consumer
mutant sealed-segments-opened src/log/recover.rs 's/State::Sealed => check_there\(directory, &identity\)\?,/State::Sealed => drop(open_checked(directory, \&identity, Access::Read)?),/' --test segments p9_an_open
mutant sealed-segment-of-any-size src/segment/file.rs '/^pub\(crate\) fn check_there/,/^\}/ s/^    check_len\(&path, identity, &status\)$/    drop(status);\n    Ok(())/' --test segments p5_a_sealed_segment_that_is
mutant looks-wait-for-upkeep src/log/stats.rs 's/let shown = self.shown.lock\(\);/let _upkeep = self.upkeep.lock();\n            let shown = self.shown.lock();/' --lib who_looks
mutant cut-without-precedence src/log/commit.rs 's/if !state.led && state.preferred == 0 \{/if !state.led {/' --lib a_cut_goes
mutant child-not-noticed src/storage/process.rs 's/let advised = unsafe \{ madvise\(page, len, Advice::LinuxWipeOnFork\) \};/let advised = unsafe { madvise(page, len, Advice::Normal) };/' --test fork p1_
mutant child-not-noticed-by-the-library src/storage/process.rs 's/word.store\(0, Ordering::Release\);/word.load(Ordering::Acquire);/' --test fork p1_
mutant lock-released-by-a-child src/log/fork.rs 's/if self.process.is_this\(\) \{/if true {/' --test fork p8_
mutant mapped-at-a-fork-recycled src/storage/mapped.rs 's/let forked = self.forks != forks\(\);/let forked = false;/' --test fork p10_
mutant open-goes-on-in-a-child src/log/recover.rs 's/if !files.process.is_this\(\) \{/if false {/' --test fork p8_
interleaved floor-not-raised-by-a-reset src/log/notes.rs 's/self\.floor = self\.floor\.max\(\*there\.start\(\)\);//' p2_no_consumer
mutant parents-not-synced src/storage/disk.rs 's/Ok\(parent\) => parent.sync_own_name\(\)\?,/Ok(_) => {}/' -p duralog-cli --test directory_sync p1_each
mutant removed-segment-closed-into src/log/close.rs 's/^        active.check_name.*$//' --test environment p1_no_clean_end
exit $survived
