#!/bin/sh
# Runs the program of its own name in the root beside the link that it is called by, with the node's data at their own
# path. The mounts are in a namespace that ends with the program.
set -eu
SLIDEMILL_ROOT=$(dirname "$0")/../root
export SLIDEMILL_ROOT
exec unshare --mount --propagation private sh -eu -c '
    data=$(dirname "$RABBITMQ_MNESIA_BASE")
    mount -t proc proc "$SLIDEMILL_ROOT/proc"
    mount --rbind /dev "$SLIDEMILL_ROOT/dev"
    mount -t tmpfs tmpfs "$SLIDEMILL_ROOT/tmp"
    mkdir -p "$SLIDEMILL_ROOT$data"
    mount --rbind "$data" "$SLIDEMILL_ROOT$data"
    exec chroot "$SLIDEMILL_ROOT" "/usr/lib/rabbitmq/bin/$0" "$@"' "$(basename "$0")" "$@"
