# What people do every day.
test:
    cargo test --workspace
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
fuzz seconds="30":
    cd fuzz && cargo +nightly fuzz run open_dir -- -max_total_time={{seconds}}
figures:
    cargo bench --bench figures
