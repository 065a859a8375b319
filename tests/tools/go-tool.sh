#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a program out of a Go module, once, and prints where it is. For tests that drive Weir by
# other people's programs.
#   go-tool.sh DIRECTORY MODULE/PACKAGE@VERSION
# Needs Go 1.21 or later, which fetches what a module asks for beyond itself. Debian 12's own is too
# old: ./dev setup installs one from golang.org's module proxy (golang.org/toolchain).
set -euo pipefail

[ $# = 2 ] || {
    echo "usage: go-tool.sh DIRECTORY MODULE/PACKAGE@VERSION" >&2
    exit 2
}
directory=$1
package=$2
name=$(basename "${package%@*}")
version=${package##*@}
program=$directory/$name-$version

if [ ! -x "$program" ]; then
    PATH=$PATH:/usr/local/go/bin
    command -v go >/dev/null || {
        echo "go-tool.sh: no Go on this machine, so $name cannot be built: run ./dev setup" >&2
        exit 3
    }
    work=$(mktemp -d "${TMPDIR:-/tmp}/weir-go-tool.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$directory"
    CGO_ENABLED=0 GOFLAGS= GOBIN=$work go install -ldflags=-s "$package" >&2
    # Several tests may want it at once: whoever is last wins, with the same program.
    mv "$work/$name" "$program.$$"
    mv "$program.$$" "$program"
fi
echo "$program"
