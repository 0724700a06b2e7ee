#!/usr/bin/env bash
# Line coverage of the recovery path by the tests and the corpus; each line that nothing ran is named.
# Unit tests are not counted as lines. Needs `rustup component add llvm-tools`, or an llvm of the compiler's version.
# Usage: fuzz/coverage.sh [ARGUMENTS FOR cargo test]. Default: -p duralog --lib --tests.
set -euo pipefail
cd "$(dirname "$0")/.."
files=(src/log/recover.rs src/walk.rs src/segment/scan.rs src/segment/verdict.rs src/manifest.rs src/watermark.rs src/format/*.rs)
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
suffix=
if [ ! -x "$tools/llvm-cov" ]; then
    suffix=-$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    tools=$(dirname "$(command -v "llvm-cov$suffix")") || tools=
fi
[ -x "$tools/llvm-cov$suffix" ] || { echo "no llvm-cov: rustup component add llvm-tools" >&2; exit 2; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/coverage CARGO_INCREMENTAL=0
export RUSTFLAGS="-C instrument-coverage" DURALOG_CORPUS_SECONDS=${DURALOG_CORPUS_SECONDS:-60}
profiles=$(mktemp -d)
trap 'rm -rf "$profiles"' EXIT
export LLVM_PROFILE_FILE=$profiles/%p-%4m.profraw
[ $# -gt 0 ] || set -- -p duralog --lib --tests

# What the build itself runs is of no interest.
built=$(LLVM_PROFILE_FILE=/dev/null cargo test "$@" --no-run --message-format=json \
    | sed -n 's/.*"executable":"\([^"]*\)".*/-object=\1/p' | sort -u)
cargo test --no-fail-fast "$@" >&2 || echo "a test failed; what ran counts all the same" >&2
"$tools/llvm-profdata$suffix" merge -sparse -failure-mode=all "$profiles" -o "$profiles/all"
# shellcheck disable=SC2086
"$tools/llvm-cov$suffix" export -format=lcov -instr-profile="$profiles/all" $built -sources "${files[@]/#/$PWD/}" >"$profiles/lcov"

awk -v root="$PWD/" '
    /^SF:/ {
        path = substr($0, 4)
        file = substr(path, length(root) + 1)
        last = n = ran = 0
        while ((getline line < path) > 0) { text[++n] = line; if (line ~ /^#\[cfg\(test\)\]/ && !last) last = n }
        close(path)
        if (!last) last = n + 1
        lines = 0
        missed = ""
    }
    /^DA:/ {
        split(substr($0, 4), of, ",")
        if (of[1] < last) {
            lines++
            if (of[2] > 0) ran++; else missed = missed sprintf("    %d: %s\n", of[1], text[of[1]])
        }
    }
    /^end_of_record/ && lines {
        printf "%6.2f %%  %d of %d  %s\n%s", 100 * ran / lines, ran, lines, file, missed
        all += lines; all_ran += ran
    }
    END { printf "%6.2f %%  %d of %d  in all\n", 100 * all_ran / all, all_ran, all }
' "$profiles/lcov"
