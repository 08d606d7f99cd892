#!/usr/bin/env bash
# Installs what kluis is measured against, the newest that a package registry has, into .peers/;
# restic and borg are at least those of Debian. What cannot be had is said, with the registry's
# own words, and left out. PEERS="borg restic" chooses; all together compile for half an hour.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=$PWD/.peers
mkdir -p "$peers/bin"
unset PYTHONDONTWRITEBYTECODE # or each start of a Python peer would compile it anew

say() { printf 'bench-peers: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

debian() {
    if [ "$(id -u)" != 0 ]; then
        say "missing; run: sudo apt-get install $*"
        return 1
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@"; } >"$peers/debian.log" 2>&1 </dev/null ||
        { say "apt-get install $* failed, see .peers/debian.log"; return 1; }
}

# newer NEW INSTALLED: whether the first version is later than the second
newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }
number() { grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }

# go_peer NAME MODULE PACKAGE VERSION_INSTALLED [VERSIONS_TO_ASK_FOR]
go_peer() {
    have go || { say "no go here: the newest $1 is left out"; return; }
    local versions newest
    # Of a module whose list is refused there may still be versions.
    versions=$(cd / && go list -m -versions "$2" 2>"$peers/$1.log") || versions=""
    # Some proxies have more than they list: the versions known here are asked for one by one.
    for known in ${5:-}; do
        (cd / && go list -m "$2@$known" >/dev/null 2>&1) && versions+=" $known"
    done
    newest=$(tr ' ' '\n' <<<"$versions" | grep -E '^v[0-9.]+$' | sort -V | tail -n 1)
    if [ -z "$newest" ] || { [ -n "$4" ] && ! newer "${newest#v}" "$4"; }; then
        say "$1: the module proxy has ${newest:-nothing}, no newer than ${4:-nothing}"
        return
    fi
    say "building $1 $newest (log: .peers/$1.log)"
    { GOBIN="$peers/bin" nice go install "$2${3:+/$3}@$newest" ||
        go_build "$1" "$2" "${3:-}" "$newest"; } >"$peers/$1.log" 2>&1 </dev/null ||
        say "$1 $newest cannot be built here: $(tail -n 1 "$peers/$1.log")"
}

# go_build NAME MODULE PACKAGE VERSION: as a module of ours needs it, which asks for no list
go_build() {
    local place=$peers/$1-module
    mkdir -p "$place"
    printf 'module peer\n\nrequire %s %s\n' "$2" "$4" >"$place/go.mod"
    printf 'package peer\n\nimport _ "%s/cli"\n' "$2" >"$place/peer.go"
    (cd "$place" && GOFLAGS=-mod=mod nice go build -o "$peers/bin/$1" "$2${3:+/$3}")
}

# python_peer NAME REQUIREMENT [PIP_OPTION...]: in an environment of its own
python_peer() {
    local name=$1 requirement=$2
    shift 2
    debian pkg-config libacl1-dev libssl-dev liblz4-dev libxxhash-dev libzstd-dev || return
    say "building $requirement (log: .peers/$name.log)"
    if { "$PWD/.venv/bin/python" -m venv "$peers/$name" &&
        nice "$peers/$name/bin/pip" install -q "$@" "$requirement"; } \
        >"$peers/$name.log" 2>&1 </dev/null; then
        ln -sf "../$name/bin/borg" "$peers/bin/$name"
    else
        say "$requirement cannot be built here: $(grep -iE 'error|exception' "$peers/$name.log" |
            tail -n 1)"
    fi
}

# borg 2 needs OpenSSL 3.2 or newer, which Debian 12 does not have: its source is on crates.io.
openssl_for_borg2() {
    if pkg-config --atleast-version=3.2 libcrypto 2>/dev/null; then
        return
    fi
    export BORG_OPENSSL_PREFIX=$peers/openssl/install
    [ ! -e "$BORG_OPENSSL_PREFIX/lib/libcrypto.a" ] || return 0
    have cargo || { say "no cargo here to bring OpenSSL 3.2 for borg2"; return 1; }
    say "building OpenSSL for borg2 (log: .peers/openssl.log)"
    local place=$peers/openssl-build
    mkdir -p "$place/src"
    cat >"$place/Cargo.toml" <<'TOML'
[package]
name = "openssl-for-borg2"
version = "0.0.0"
edition = "2021"
[dependencies]
openssl-src = "300.5"
TOML
    cat >"$place/src/main.rs" <<'RUST'
fn main() {
    let out = std::env::args().nth(1).expect("where to build");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    openssl_src::Build::new().out_dir(out).host(&target).target(&target).build();
}
RUST
    (cd "$place" && nice cargo run --quiet -- "$peers/openssl") >"$peers/openssl.log" 2>&1 </dev/null ||
        { say "OpenSSL cannot be built here: $(tail -n 1 "$peers/openssl.log")"; return 1; }
    rm -rf "$place" "$peers/openssl/build"
}

rustic_peer() {
    have cargo || { say "no cargo here: rustic is left out"; return; }
    say "building rustic (log: .peers/rustic.log)"
    # Without its terminal pages and its server, which nothing here uses.
    nice cargo install --quiet --no-default-features --root "$peers" rustic-rs \
        >"$peers/rustic.log" 2>&1 </dev/null ||
        say "rustic cannot be built here: $(tail -n 1 "$peers/rustic.log")"
}

missing=()
for need in restic:restic borg:borgbackup strace:strace zstd:zstd; do
    have "${need%%:*}" || missing+=("${need##*:}")
done
[ "${#missing[@]}" = 0 ] || debian "${missing[@]}" || exit 1

for peer in ${PEERS:-restic borg borg2 kopia rustic}; do
    [ ! -x "$peers/bin/$peer" ] || continue
    case $peer in
    restic) go_peer restic github.com/restic/restic cmd/restic "$(restic version | number)" \
        "v0.19.1 v0.19.0 v0.18.1 v0.18.0 v0.17.3" ;;
    kopia) go_peer kopia github.com/kopia/kopia "" "" "v0.23.1 v0.22.3 v0.21.1 v0.19.0" ;;
    borg) python_peer borg 'borgbackup<2' ;;
    borg2) openssl_for_borg2 && python_peer borg2 'borgbackup>=2.0.0b1,<3' --pre ;;
    rustic) rustic_peer ;;
    *) say "no such peer: $peer"; exit 2 ;;
    esac
done

for tool in restic borg borg2 kopia rustic; do
    found=
    for place in "$peers/bin/$tool" "$(command -v $tool)"; do
        [ -x "$place" ] || continue
        case $tool in restic) ask=version ;; *) ask=--version ;; esac
        printf '%-24s %s\n' "${place#"$PWD"/}" "$("$place" $ask 2>&1 | head -n 1)"
        found=1
    done
    [ -n "$found" ] || printf '%-24s not to be had here\n' "$tool"
done
