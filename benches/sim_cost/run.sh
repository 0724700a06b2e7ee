#!/usr/bin/env bash
# A buffered append in a build without the feature `sim` and in one with it, by turns: medians of both and of
# their ratios. Usage: benches/sim_cost/run.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}/sim_cost
CARGO_TARGET_DIR=$target/without cargo build --quiet --release
CARGO_TARGET_DIR=$target/with cargo build --quiet --release --features sim
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
for _ in $(seq "${1:-15}"); do
    for build in without with; do
        rm -rf "$dir/log"
        "$target/$build/release/sim_cost" "$dir/log" >>"$dir/$build"
    done
done
echo "without $(median <"$dir/without") ns, with $(median <"$dir/with") ns, ratio $(paste "$dir/without" "$dir/with" | awk '{ print $2 / $1 }' | median)"
