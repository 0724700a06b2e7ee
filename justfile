# What people do every day.
test:
    cargo test --workspace
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
fuzz target="open_dir" seconds="30":
    cd fuzz && cargo run --no-default-features --bin seeds && cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}} -malloc_limit_mb=64 -timeout=10
coverage:
    fuzz/coverage.sh
peers *args:
    cd benches/peers && cargo run --release -- {{args}}
figures:
    cargo bench --bench figures
# Each row beside its floor; `just micro append` for one group. And percentiles of an append.
micro *group:
    cargo bench --bench micro -- {{group}}
stall:
    cargo bench --bench stall
