#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a program out of a Go module, once, and prints where it is. For tests that drive Weir by
# other people's programs.
#   go-tool.sh DIRECTORY MODULE/PACKAGE@VERSION
# A Go older than 1.21 (Debian 12's) is only used to fetch a newer one, which is a module too and is
# verified like any other (golang.org/toolchain).
set -euo pipefail

GO_TOOLCHAIN=v0.0.1-go1.24.9.linux-$(dpkg --print-architecture)

# The Go to build with.
find_go() {
    local go minor toolchain
    PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin:/usr/lib/go-1.19/bin
    go=$(command -v go) || {
        echo "go-tool.sh: there is no Go on this machine: run ./dev setup" >&2
        exit 3
    }
    minor=$("$go" version | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-99}" -ge 21 ]; then
        echo "$go"
        return
    fi
    # Modules have no file modes, so its programs are made programs here.
    toolchain=$(GOFLAGS=-modcacherw "$go" mod download -json "golang.org/toolchain@$GO_TOOLCHAIN" |
        sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    chmod +x "$toolchain"/bin/* "$toolchain"/pkg/tool/*/*
    echo "$toolchain/bin/go"
}

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
    unset GOROOT
    go=$(find_go)
    work=$(mktemp -d "${TMPDIR:-/tmp}/weir-go-tool.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$directory"
    CGO_ENABLED=0 GOFLAGS=-modcacherw GOBIN=$work "$go" install -ldflags=-s "$package" >&2
    # Several tests may want it at once: whoever is last wins, with the same program.
    mv "$work/$name" "$program.$$"
    mv "$program.$$" "$program"
fi
echo "$program"
