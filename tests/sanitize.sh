#!/usr/bin/env bash
# Runs the stress test under tools that watch threads and memory, as far as they are installed: ThreadSanitizer
# (nightly) and valgrind. Usage: tests/sanitize.sh. Exit 0: nothing was found; it says what was skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/sanitize}
target=$(rustc -vV | sed -n 's/^host: //p')
log=$(mktemp) believed_not=$(mktemp)
trap 'rm -f "$log" "$believed_not"' EXIT
failed=0

skipped() { echo "skipped   $1: $2"; }

# report NAME STATUS COUNT
report() {
    if [ "$2" = 0 ] && [ "$3" = 0 ] && grep -q '^test result: ok. [1-9]' "$log"; then
        echo "clean     $1: $(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$log") tests, 0 reports"
    else
        echo "FOUND     $1: $3 reports, exit $2"
        tail -n 200 "$log"
        failed=1
    fi
}

thread_sanitizer() {
    local name=thread-sanitizer sysroot std=() flags=-Zsanitizer=thread
    sysroot=$(rustc +nightly --print sysroot 2>/dev/null) || { skipped $name "no nightly toolchain"; return; }
    if [ -d "$sysroot/lib/rustlib/src/rust/library" ]; then
        std=(-Zbuild-std)
    else
        # The fence in the last drop of an Arc, behind which it frees, and the channel of the test harness are then
        # invisible to it: what it says of them is not to be believed.
        skipped "$name of std" "no rust-src; run with std as it is, without reports of what an Arc frees last"
        printf 'race:alloc::sync::Weak\nrace:std::sync::mpmc\n' >"$believed_not"
        flags="$flags -Cunsafe-allow-abi-mismatch=sanitizer"
    fi
    RUSTFLAGS=$flags cargo +nightly test --quiet "${std[@]}" --target "$target" --test stress --no-run 2>"$log" \
        || { report $name $? 0; return; }
    RUSTFLAGS=$flags TSAN_OPTIONS="halt_on_error=0 history_size=7 suppressions=$believed_not" DURALOG_STRESS=${DURALOG_STRESS:-3000} \
        cargo +nightly test --quiet "${std[@]}" --target "$target" --test stress >"$log" 2>&1
    report $name $? "$(grep -c '^WARNING: ThreadSanitizer' "$log")"
}

# under NAME ROUNDS OPTIONS...
under() {
    local name=$1 rounds=$2
    shift 2
    # One thread runs at a time: they must take turns, or those that yield never let the others go on.
    DURALOG_STRESS=${DURALOG_STRESS:-$rounds} timeout 600 valgrind --fair-sched=yes --error-exitcode=9 "$@" \
        "$binary" --test-threads=1 >"$log" 2>&1
    report "$name" $? "$(sed -n 's/.*ERROR SUMMARY: \([0-9,]*\) errors.*/\1/p' "$log" | tail -n 1)"
    if grep -qi 'unhandled\|unknown.*madvise' "$log"; then
        echo "note      $name: $(grep -im1 'unhandled\|unknown.*madvise' "$log")"
    fi
}

in_valgrind() {
    command -v valgrind >/dev/null || { skipped valgrind "not installed"; return; }
    # rustix would else look the page size up in the vDSO's header, which valgrind does not map: SIGSEGV.
    binary=$(cargo test --quiet -p duralog --features rustix/use-libc-auxv --test stress --no-run --message-format=json 2>/dev/null \
        | sed -n 's/.*"executable":"\([^"]*stress-[^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$binary" ] || { skipped valgrind "the test does not build"; failed=1; return; }
    under memcheck 300 --leak-check=full --errors-for-leak-kinds=definite
    # Helgrind and drd know locks by pthread's calls alone; locks made of futexes and atomics are races to them.
    skipped helgrind "it does not see the locks, which are futexes; see thread-sanitizer"
}

thread_sanitizer
in_valgrind
exit $failed
