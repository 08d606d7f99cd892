#!/usr/bin/env bash
# Installs what kluis is measured against: Debian's restic and borg, and into .peers/ newer ones
# where a package registry has them (best effort: what cannot be had is said and left out).
# PEERS="borg restic" chooses; rustic and kopia take many minutes to compile.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=$PWD/.peers
mkdir -p "$peers/bin"

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
    versions=$(cd / && go list -m -versions "$2" 2>/dev/null) || versions=""
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
    GOBIN="$peers/bin" go install "$2${3:+/$3}@$newest" >"$peers/$1.log" 2>&1 </dev/null ||
        say "$1 $newest cannot be built here"
}

borg_peer() {
    say "installing the newest borg (log: .peers/borg.log)"
    debian pkg-config libacl1-dev libssl-dev liblz4-dev libxxhash-dev libzstd-dev || return
    { "$PWD/.venv/bin/python" -m venv "$peers/borg" &&
        "$peers/borg/bin/pip" install -q borgbackup; } >"$peers/borg.log" 2>&1 </dev/null ||
        { say "the newest borg cannot be built here"; return; }
    ln -sf ../borg/bin/borg "$peers/bin/borg"
}

rustic_peer() {
    have cargo || { say "no cargo here: rustic is left out"; return; }
    say "building rustic (log: .peers/rustic.log)"
    cargo install --quiet --root "$peers" rustic-rs >"$peers/rustic.log" 2>&1 </dev/null ||
        say "rustic cannot be built here"
}

missing=()
for need in restic:restic borg:borgbackup strace:strace zstd:zstd; do
    have "${need%%:*}" || missing+=("${need##*:}")
done
[ "${#missing[@]}" = 0 ] || debian "${missing[@]}" || exit 1

for peer in ${PEERS:-restic borg}; do
    [ ! -x "$peers/bin/$peer" ] || continue
    case $peer in
    restic) go_peer restic github.com/restic/restic cmd/restic "$(restic version | number)" \
        "v0.19.1 v0.19.0 v0.18.1 v0.18.0 v0.17.3" ;;
    kopia) go_peer kopia github.com/kopia/kopia "" "" "v0.22.3 v0.22.0 v0.21.1 v0.21.0" ;;
    borg) borg_peer ;;
    rustic) rustic_peer ;;
    *) say "no such peer: $peer"; exit 2 ;;
    esac
done

for tool in restic borg rustic kopia; do
    for place in "$peers/bin/$tool" "$(command -v $tool)"; do
        [ -x "$place" ] || continue
        case $tool in restic) ask=version ;; *) ask=--version ;; esac
        printf '%-24s %s\n' "${place#"$PWD"/}" "$("$place" $ask 2>&1 | head -n 1)"
    done
done
