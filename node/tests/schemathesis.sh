#!/usr/bin/env bash
# The API against its own description, by an independent tool: schemathesis. `make test` and
# `make check-api` run it; it asks a node on loopback with both portals away.
set -euo pipefail
bin=${1:?the folder of the built programs}
sample=$(cd "$(dirname "$0")" && pwd)/invoice.xml
work=$(mktemp -d)
trap 'kill "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
node=0
tool=${STAFFETTA_PYTHON:-$HOME/.cache/staffetta/python}/bin/schemathesis
[ -x "$tool" ] || { echo "$tool is needed: make tools installs it"; exit 1; }
cd "$work"
"$bin/staffetta-certgen" issue 02038490237 --out . --ca ca >/dev/null
cat > node.toml <<EOF
data = "$work/data"
[api]
listen = ["127.0.0.1:0"]
[[portal]]
name = "A"
pin = "$(printf 'ab%.0s' $(seq 32))"
addresses = ["127.0.0.1:9"]
[[tenant]]
vat = "02038490237"
cert = "$work/02038490237.cert"
key = "$work/02038490237.key"
spool = "$work/spool"
EOF
token=$("$bin/staffetta-node" token add check --config node.toml)
"$bin/staffetta-node" run --config node.toml 2> node.log &
node=$!
for _ in $(seq 100); do
  address=$(sed -n 's|.*the API answers at \(http://[0-9.:]*\).*|\1|p' node.log)
  [ -n "$address" ] && break
  sleep 0.1
done
[ -n "$address" ] || { cat node.log; exit 1; }
curl -sf -H "Authorization: Bearer $token" --data-binary "@$sample" "$address/api/v1/invoices" >/dev/null
# A body that is too long is refused for that, whatever else is wrong with it.
cat > schemathesis.toml <<EOF
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 422]
EOF
# The stream has no end, and so is left out here; tests/api reads it. A file that is no invoice
# fits the description of a body, and so is refused as only the judge can tell: 422. Guessing
# passwords makes an address wait, which that check does not expect.
"$tool" run "$address/api/v1/openapi.json" \
  -H "Authorization: Bearer $token" --exclude-path /api/v1/changes/stream \
  --exclude-checks positive_data_acceptance,ignored_auth \
  --max-examples "${EXAMPLES:-30}" --seed 1 --no-color --request-timeout 70 --warnings off
