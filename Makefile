# Everything a person types. `make test` is what continuous integration runs.
CARGO ?= cargo

.PHONY: test lint check-pure

test: lint check-pure
	$(CARGO) test --workspace --locked

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# The engine must stay free of sockets, disks, clocks, dice and runtimes: none of the
# crates that bring them may be among its dependencies (its clippy.toml forbids the std ways).
check-pure:
	@bad=$$($(CARGO) tree -p engine -e normal --prefix none --locked | cut -d' ' -f1 | sort -u \
	  | grep -E '^(tokio|quinn|rustls|sled|fjall|redb|mio|socket2|async-std|smol)$$'); \
	if [ -n "$$bad" ]; then echo "the engine must not depend on: $$bad"; exit 1; fi; \
	echo "engine: no runtime, socket or store among its dependencies"
