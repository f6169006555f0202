# Everything a person types. `make test` is what continuous integration runs.
CARGO ?= cargo

.PHONY: test tools half-open check-windows screenshots check-api check-node-api lint check-pure demo demo-short build sim planted soak crash fuzz bench compare

test: lint check-pure tools check-windows
	SIM_SEEDS=200 $(CARGO) test --workspace --locked
	@$(MAKE) --no-print-directory check-node-api EXAMPLES=10
	@$(MAKE) --no-print-directory planted FROM_ZERO=
	$(CARGO) test --locked -p fatturapa --test cases -- --nocapture --test-threads=1
	@$(MAKE) --no-print-directory demo-short

# Two portals and three nodes as processes, fed, cut off and killed; it stays up afterwards so
# that you can look. EXIT=1 ends instead, KEEP=1 leaves the folder. The development build: it
# shares what `make test` builds, and comes up in a third of the time of a release build.
demo: build
	$(CARGO) run -q --locked --bin demo -- $(if $(EXIT),--exit) $(if $(KEEP),--keep)

# The same story in short, so that it cannot rot.
demo-short: build
	$(CARGO) run -q --locked --bin demo -- --exit --short

# The simulator: SEEDS seeds from FIRST, or one SEED with its last steps (SIM_TRACE=file keeps
# every step). HOURS is the simulated length of each.
sim:
	@SEEDS=$(or $(SEEDS),100) FIRST=$(or $(FIRST),0) HOURS=$(or $(HOURS),24) \
	  $(if $(SEED),SEED=$(SEED)) $(CARGO) test -q --locked -p engine --test sim soak -- --ignored --nocapture

# Bugs planted in engine and host, each to be found: the table of docs/RELIABILITY.md. Looks
# from seed 0; `make test` looks from the first seed that found each.
planted: FROM_ZERO ?= 1
planted:
	$(if $(FROM_ZERO),FROM_ZERO=1) $(CARGO) test -q --locked -p engine --features plant --test sim planted -- --nocapture

# The same for a night: seeds nobody has run, longer ones too.
soak:
	@first=$$(date +%s); echo "seeds from $$first"; \
	$(MAKE) --no-print-directory sim SEEDS=$(or $(SEEDS),2000) FIRST=$$first && \
	$(MAKE) --no-print-directory sim SEEDS=$(or $(SEEDS),200) FIRST=$$first HOURS=240

# Real processes and their files: CYCLES kills of a node and as many of a portal, DAMAGE flipped
# bits, zeroed pages and lost ends, the power lost at IMAGES moments of a run, or at all of them.
# Each test ends with a line of figures. `make test` runs the same in short.
crash: tools build
	CYCLES=$(or $(CYCLES),1000) DAMAGE=$(or $(DAMAGE),1000) IMAGES=$(or $(IMAGES),all) \
	  $(CARGO) test -q --locked -p portal-node --test processes -- --nocapture killed:: damaged:: power:: restored::

# One decoder after the other, or TARGET only, for SECONDS each, by libFuzzer: engine/fuzz has what
# reads a stranger's bytes, portal-node/fuzz what reads a person's files. What it finds is in their
# artifacts/, what it learns in their target/corpus. `make test` replays their corpus/ without it.
# The flags are those of cargo-fuzz, which is not needed.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
FUZZ = engine/fuzz:engine-fuzz:frame,sheet,bundle,session,vector,change,document,xml,p7m,message \
  portal-node/fuzz:portal-fuzz:certificate,node-config,portal-config
fuzz:
	@for crate in $(FUZZ); do \
	  dir=$${crate%%:*}; rest=$${crate#*:}; program=$${rest%%:*}; targets=$${rest#*:}; \
	  [ -z "$(TARGET)" ] || case ",$$targets," in *,$(TARGET),*) targets=$(TARGET);; *) continue;; esac; \
	  (cd $$dir && RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --release --locked \
	    --target-dir target --target $$(rustc -vV | sed -n 's/^host: //p')) || exit 1; \
	  for target in $$(echo $$targets | tr , ' '); do \
	    echo "== $$target"; (cd $$dir && mkdir -p artifacts target/corpus/$$target && \
	    TARGET=$$target target/*/release/$$program -max_total_time=$(or $(SECONDS),60) \
	      -max_len=16384 -rss_limit_mb=1024 -timeout=10 -artifact_prefix=artifacts/$$target- -print_final_stats=1 \
	      target/corpus/$$target corpus/$$target) || exit 1; done; done

# Five thousand half-open handshakes against a portal's process: what they cost in memory, and in
# time to a customer who writes all the while. One JSON line; fails beyond 64 MiB or twice the time.
half-open:
	@ulimit -n 16384; $(CARGO) test -q --locked -p portal-node --test half_open five_thousand -- --ignored --nocapture

build:
	$(CARGO) build --workspace --bins --locked

# Figures, each a line of docs/performance/results.jsonl in the place of the one before it, and the
# page with its plots beside it, and the README's table. `bench` measures ours alone, in short;
# `compare` also what a user would pick instead, which needs Node.js with npm and syncthing, takes
# some 25 minutes, and can be taken up again by its parts. CAP in seconds ends a measurement.
COMPARE = $(CARGO) run -q --release --locked --
RIVALS ?= pouchdb,syncthing,automerge-repo,samod,iroh-docs
YARDSTICKS = tcp,multipath,multipath-short
CAP ?= 60
.PHONY: bench-program compare-ours compare-rivals
bench-program:
	$(CARGO) build -q --release --locked -p benches --bin benches --bin end
ours = program=$$($(CARGO) metadata --format-version 1 --no-deps --locked \
	| sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/benches; cd benches/compare
bench: bench-program
	@$(ours) && $(COMPARE) quick --program $$program && $(COMPARE) floor --documents 1000,10000 && \
	$(COMPARE) floor --documents 1000 --line adsl && $(COMPARE) page

compare: compare-ours compare-rivals
	cd benches/compare && $(COMPARE) page

compare-ours: bench-program
	@$(ours) && ours="ours --program $$program" && \
	$(COMPARE) $$ours --documents 1000,10000 --changed 0,1,10,100,1000 --live && \
	$(COMPARE) floor --documents 1000,10000 --changed 1,10,100,1000 && \
	$(COMPARE) $$ours --documents 1000 --changed 0,100 --line adsl && \
	$(COMPARE) $$ours --documents 10000 --changed 100 --line adsl --runs 1 && \
	$(COMPARE) floor --documents 1000,10000 --changed 100 --line adsl && \
	$(COMPARE) failover --program $$program && \
	$(COMPARE) $$ours --documents 100000 --changed 0,1,10,100,1000 --runs 1 && \
	$(COMPARE) portal --program $$program && \
	$(COMPARE) floor --documents 100000 --changed 1,10,100,1000

compare-rivals:
	cd benches/compare/rivals/js && npm ci --no-progress
	for rival in samod iroh-docs yardsticks; do (cd benches/compare/rivals/$$rival && \
	  $(CARGO) build --release --locked --target-dir target) || exit 1; done
	@cd benches/compare && rivals="rivals --cap $(CAP) --systems $(RIVALS)" && \
	$(COMPARE) $$rivals --documents 1000 --changed 0,1,10,100,1000 --live && \
	$(COMPARE) $$rivals --documents 1000 --changed 0,100 --line adsl && \
	$(COMPARE) failover --yardsticks $(YARDSTICKS) && \
	$(COMPARE) $$rivals --documents 10000 --changed 0,1,10,100,1000 --live && \
	$(COMPARE) $$rivals --documents 10000 --line adsl && \
	$(COMPARE) $$rivals --documents 100000 --changed 0,1,10,100,1000

# What the pages under docs/erp are run with, the drivers that SQL is read by, the browser that the
# portal is seen with, and the C compiler for Windows: something that is there when it is installed, and its package in Debian.
TOOLS = curl=curl x86_64-w64-mingw32-gcc=gcc-mingw-w64-x86-64 strace=strace openssl=openssl chromium=chromium pk12util=libnss3-tools python3=python3 psql=postgresql-client isql=unixodbc javac=default-jdk-headless \
  mcs=mono-mcs mono=mono-runtime /usr/lib/mono/4.5/System.Data.dll=libmono-system-data4.0-cil \
  /usr/share/java/postgresql.jar=libpostgresql-jdbc-java /etc/odbcinst.ini=odbc-postgresql \
  /usr/lib/python3/dist-packages/psycopg=python3-psycopg \
  /usr/lib/python3/dist-packages/psycopg2=python3-psycopg2 \
  /usr/share/doc/python3-venv=python3-venv
# What comes from PyPI, in a folder of its own: schemathesis tries the APIs, pyHanko signs contracts,
# aiosmtpd takes letters, and axe-playwright-python brings axe-core, which looks at the pages.
export STAFFETTA_PYTHON ?= $(HOME)/.cache/staffetta/python
PYTHON_TOOLS = schemathesis==4.* pyhanko-cli==0.6.* aiosmtpd==1.4.*
AXE = axe-playwright-python==0.1.8
# Without a person at it a browser shows a certificate only where a policy says so: here for the
# port of the tests' pages.
POLICY = /etc/chromium/policies/managed/staffetta-tests.json
tools:
	@sudo=$$([ $$(id -u) = 0 ] || echo sudo); [ -e $(POLICY) ] || { $$sudo mkdir -p $(dir $(POLICY)) && \
	  echo '{"AutoSelectCertificateForUrls":["{\"pattern\":\"https://*:4443\",\"filter\":{}}"]}' \
	  | $$sudo tee $(POLICY) >/dev/null; } || { echo "$(POLICY) cannot be written, and the tests need it"; exit 1; }
	@missing=$$(for tool in $(TOOLS); do \
	  command -v $${tool%%=*} >/dev/null || [ -e $${tool%%=*} ] || echo $${tool##*=}; done); \
	[ -z "$$missing" ] && exit 0; \
	sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	{ $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q $$missing; } >/dev/null \
	|| { echo "these cannot be installed, and the tests need them:" $$missing; exit 1; }
	@holds="$(PYTHON_TOOLS) $(AXE)"; cd "$$HOME" && [ "$$(cat $(STAFFETTA_PYTHON)/holds 2>/dev/null)" = "$$holds" ] || \
	{ python3 -m venv --clear $(STAFFETTA_PYTHON) && $(STAFFETTA_PYTHON)/bin/pip install -q $(PYTHON_TOOLS) && \
	$(STAFFETTA_PYTHON)/bin/pip install -q --no-deps $(AXE) && echo "$$holds" > $(STAFFETTA_PYTHON)/holds; } \
	|| { echo "these cannot be installed from PyPI, and the tests need them: $$holds"; exit 1; }

# The pictures of docs/screenshots, as the test of a customer's first day sees the pages.
screenshots: build tools
	SCREENSHOTS=$(CURDIR)/docs/screenshots $(CARGO) test -q --locked -p portal-node --test processes -- customer apart

# Both APIs against their own description, by schemathesis: EXAMPLES for each operation. `make test`
# does it in short: the portal's among its tests, the node's beside them.
check-api: check-node-api
	EXAMPLES=$(or $(EXAMPLES),100) $(CARGO) test -q --locked -p portal-node --test pages described -- --nocapture

check-node-api: build tools
	@dir=$$($(CARGO) metadata --format-version 1 --no-deps --locked \
	  | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'); \
	EXAMPLES=$(or $(EXAMPLES),100) node/tests/schemathesis.sh $$dir/debug

# The node as Windows compiles it. SQLite, zstd and ring are C: MinGW compiles them.
WINDOWS = x86_64-pc-windows-gnu
check-windows: tools
	@[ -d "$$(rustc --print target-libdir --target $(WINDOWS))" ] || rustup target add $(WINDOWS) \
	|| { echo "Rust's library for $(WINDOWS) is missing: install rustup (https://rustup.rs) and run: rustup target add $(WINDOWS)"; exit 1; }
	$(CARGO) check -q --locked -p node --target $(WINDOWS)

# Packages that are not of the workspace are not built here, but what they are locked to must fit it.
APART = benches/compare engine/fuzz portal-node/fuzz
lint:
	$(CARGO) fmt --all --check
	@for dir in $(APART); do (cd $$dir && $(CARGO) fmt --check) || exit 1; \
	(cd $$dir && $(CARGO) metadata --locked --format-version 1 >/dev/null) || \
	{ echo "$$dir/Cargo.lock is out of date: run cargo metadata there, and commit it"; exit 1; }; done
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# The engine must stay free of sockets, disks, clocks, dice and runtimes: none of the
# crates that bring them may be among its dependencies (its clippy.toml forbids the std ways).
check-pure:
	@bad=$$($(CARGO) tree -p engine -e normal --prefix none --locked | cut -d' ' -f1 | sort -u \
	  | grep -E '^(tokio|quinn|rustls|sled|fjall|redb|mio|socket2|async-std|smol)$$'); \
	if [ -n "$$bad" ]; then echo "the engine must not depend on: $$bad"; exit 1; fi; \
	echo "engine: no runtime, socket or store among its dependencies"
