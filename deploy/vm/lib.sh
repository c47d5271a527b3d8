# shellcheck shell=bash disable=SC2034  # names are shared with those who source this
# Places of the test guest; sourced by make and run.

cache=${CELLBLOCK_VM_CACHE:-/var/cache/cellblock-vm}
tree=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
# Where the guest has the source tree.
readonly GUEST_TREE=/root/cellblock

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
say() { printf 'vm: %s\n' "$*" >&2; }
