# The habits of the house. `just` lists them.

_default:
    @just --list

# Everything that CI checks
ci:
    bash .ci/run

# Format and lint as CI does
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The tests, with the public data if they are there
test:
    cargo test --workspace

# The policies link without std
no-std:
    cargo build --release --manifest-path policies/no-std-check/Cargo.toml

# The main job
quickstart:
    cargo run --release -- run scenarios/library/quickstart.toml

# The study, cell by cell
validate:
    cargo run --release -- validate openb

# All benches; figures go into benches/RESULTS.md
bench:
    cargo bench

# Rewrite what is generated and checked in: the scenario schema and the golden outputs
bless:
    UPDATE_SCHEMA=1 INSTA_UPDATE=always SNAPSHOTS=overwrite cargo test --workspace
