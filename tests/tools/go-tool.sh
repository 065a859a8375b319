#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a program out of a Go module, once, and prints where it is. For tests that drive Weir by
# other people's programs.
#   go-tool.sh DIRECTORY MODULE/PACKAGE@VERSION   a program of a module that stands alone
#   go-tool.sh DIRECTORY PACKAGE                  one of those that */tools.go beside this name
#   go-tool.sh DIRECTORY --test PACKAGE           the tests of such a package, as a program PACKAGE.test
# WEIR_GO_JOBS bounds how many packages are compiled at a time. WEIR_GO_BUILD=no: only what was built
# before; exit status 4 if it was not.
# A Go older than 1.21 (Debian 12's) is only used to fetch a newer one, which is a module too and is
# verified like any other (golang.org/toolchain).
set -euo pipefail

GO_TOOLCHAIN=v0.0.1-go1.25.5.linux-$(dpkg --print-architecture)
HERE=$(cd "$(dirname "$0")" && pwd)

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

# pinning PACKAGE: which module beside this script pins it, by folder.
pinning() {
    case "$1" in
    sigs.k8s.io/network-policy-api/*) echo network-policy-api ;;
    *) echo kubernetes ;;
    esac
}

# pinned_version FOLDER: the version that its go.mod asks for.
pinned_version() {
    sed -nE "s#^(require )?[[:space:]]*(sigs\.)?k8s\.io/$1 (v[0-9.]+)\$#\3#p" "$HERE/$1/go.mod"
}

# Programs of Kubernetes say which version they are by variables that its own build sets.
kubernetes_flags() {
    local version minor
    version=$(pinned_version kubernetes)
    minor=${version#v1.}
    echo "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
        "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}" \
        "-X k8s.io/client-go/pkg/version.gitVersion=$version"
}

# build GO OUTPUT: what was asked for, into a file.
build() {
    local go=$1 output=$2
    case "$package" in
    *@*)
        GOBIN=$(dirname "$output") "$go" install -ldflags=-s "$package"
        ;;
    *)
        cd "$HERE/$(pinning "$package")"
        if [ "$kind" = test ]; then
            "$go" test -c -vet=off -trimpath -ldflags "$(kubernetes_flags)" -o "$output" "$package"
        else
            "$go" build -trimpath -ldflags "$(kubernetes_flags)" -o "$output" "$package"
        fi
        ;;
    esac
}

kind=program
if [ "${2:-}" = --test ]; then
    kind="test"
    set -- "$1" "${@:3}"
fi
[ $# = 2 ] || {
    sed -n 's/^#   /usage: /p' "$0" >&2
    exit 2
}
directory=$1
package=$2
name=$(basename "${package%@*}")
[ "$package" != go.etcd.io/etcd/server/v3 ] || name=etcd
case "$package" in
*@*) program=$directory/$name-${package##*@} ;;
*)
    [ "$kind" = program ] || name=$name.test
    folder=$(pinning "$package")
    program=$directory/$folder-$(pinned_version "$folder")/$name
    ;;
esac

if [ ! -x "$program" ]; then
    if [ "${WEIR_GO_BUILD:-}" = no ]; then
        exit 4
    fi
    unset GOROOT
    go=$(find_go)
    work=$(mktemp -d "${TMPDIR:-/tmp}/weir-go-tool.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$(dirname "$program")"
    export CGO_ENABLED=0 GOFLAGS="-modcacherw -buildvcs=false ${WEIR_GO_JOBS:+-p=$WEIR_GO_JOBS}"
    (build "$go" "$work/$name" >&2)
    # Several tests may want it at once: whoever is last wins, with the same program.
    mv "$work/$name" "$program.$$"
    mv "$program.$$" "$program"
fi
echo "$program"
