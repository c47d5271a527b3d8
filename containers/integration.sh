#!/bin/bash
# Runs the integration tests of this package as the user of a test instance, against its real Podman:
#
#   containers/integration.sh [argument of the test binary]...
#
# With -update it writes the golden files of testdata anew.
#
# To be run as root. The instance is $TEST_INSTANCE (cellblock-test); deploy/up makes it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
instance=${TEST_INSTANCE:-cellblock-test}
tags="integration $(<../deploy/gotags)"

# The instance's user must be able to read both files, wherever this working tree lies.
dir=$(mktemp -d "${TMPDIR:-/tmp}/containers.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 0755 "$dir"
# The tests run beside copies of what they read, and leave new golden files where they may write.
cp -r seccomp testdata "$dir"
install -m 0644 "$(go list -f '{{.Dir}}' golang.org/x/sys/unix)/zsysnum_linux_$(go env GOARCH).go" "$dir/zsysnum.go"
mkdir -m 0777 "$dir/new"
CGO_ENABLED=0 go build -o "$dir/probe" ./testdata/probe
CGO_ENABLED=1 go test -c -race -tags "$tags" -o "$dir/containers.test" .

environment=(--env "CELLBLOCK_PROBE=$dir/probe")
bridge=localhost/cellblock/bridge:latest
if ../deploy/enter --instance "$instance" -- podman image exists "$bridge"; then
    environment+=(--env "CELLBLOCK_BRIDGE_IMAGE=$bridge")
fi
status=0
(
    cd "$dir"
    "$OLDPWD"/../deploy/enter --instance "$instance" "${environment[@]}" -- \
        "$dir/containers.test" -test.run '^TestPodman' -test.failfast=false -test.timeout 8m "$@"
) || status=$?
for f in "$dir"/new/*; do
    [[ ! -e $f ]] || install -m 0644 "$f" testdata/
done
exit "$status"
