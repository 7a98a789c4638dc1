#!/bin/sh
# Install Clarifier: download the program for this machine, verify its SHA-256 and put it into one folder.
#
#   install.sh                 install the version that this script was published with
#   install.sh --version X     install another version
#   install.sh --uninstall     remove the program
#
# CLARIFIER_INSTALL_DIR    folder of the program (default: ~/.local/bin)
# CLARIFIER_DOWNLOAD_URL   folder that holds the archives and SHA256SUMS (default: the project's releases)
#
# It runs in any POSIX shell, needs curl or wget, and never asks for root. `cargo xtask dist` fills in the two lines below.
set -eu

version=@VERSION@
repository=@REPOSITORY@

work=
new=
made=

main() {
    action=install
    while [ $# -gt 0 ]; do
        case $1 in
        --version)
            [ $# -ge 2 ] || fail "--version needs a value, such as 1.2.3"
            version=${2#v}
            shift
            ;;
        --uninstall) action=uninstall ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown option $1" ;;
        esac
        shift
    done
    if [ -z "${CLARIFIER_INSTALL_DIR:-}" ] && [ -z "${HOME:-}" ]; then
        fail "HOME is not set; set CLARIFIER_INSTALL_DIR to the folder to install to"
    fi
    directory=${CLARIFIER_INSTALL_DIR:-$HOME/.local/bin}
    case $directory in /*) ;; *) directory=$(pwd)/$directory ;; esac
    $action
}

usage() {
    cat <<'END'
Install Clarifier.

  install.sh                 install the version that this script was published with
  install.sh --version X     install another version
  install.sh --uninstall     remove the program

CLARIFIER_INSTALL_DIR    folder of the program (default: ~/.local/bin)
CLARIFIER_DOWNLOAD_URL   folder that holds the archives and SHA256SUMS (default: the project's releases)
END
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

clean() {
    [ -z "$work" ] || rm -rf "$work"
    [ -z "$new" ] || rm -f "$new"
    [ -z "$made" ] || rmdir "$made" 2>/dev/null || :
}

install() {
    case $version${CLARIFIER_DOWNLOAD_URL:-$repository} in
    *@[VR]*) fail "this copy names no release; take install.sh from a release, or set CLARIFIER_DOWNLOAD_URL and give --version" ;;
    esac
    url=${CLARIFIER_DOWNLOAD_URL:-$repository/releases/download/v$version}
    find_target
    find_sha256
    name=clarifier-$version-$target
    for tool in tar awk mktemp; do
        command -v $tool >/dev/null 2>&1 || fail "$tool is missing; install it and run this script again"
    done

    trap clean EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    work=$(mktemp -d)
    say "Downloading $url/$name.tar.gz"
    download "$url/SHA256SUMS" "$work/SHA256SUMS"
    expected=$(awk -v name="$name.tar.gz" '$2 == name { print $1 }' "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "$url/SHA256SUMS does not list $name.tar.gz: version $version has no program for this machine"
    download "$url/$name.tar.gz" "$work/archive"
    actual=$($sha256 "$work/archive" | awk '{ print $1 }')
    [ "$actual" = "$expected" ] ||
        fail "the checksum of $name.tar.gz is wrong; nothing was installed
  expected $expected
  received $actual
Try again; if it stays wrong, the download was changed on its way or at its source."
    tar -xzf "$work/archive" -C "$work" "$name/clarifier" || fail "$name.tar.gz cannot be unpacked"

    if [ ! -d "$directory" ]; then
        mkdir -p "$directory" || fail "$directory cannot be made; set CLARIFIER_INSTALL_DIR to a folder that you may write to"
        made=$directory
    fi
    # In the same folder, so that the old program is replaced at once or not at all.
    new=$directory/.clarifier-new.$$
    cp "$work/$name/clarifier" "$new" || fail "$directory cannot be written to; set CLARIFIER_INSTALL_DIR to another folder"
    chmod 755 "$new"
    said=$("$new" --version 2>&1) || fail "the program does not run on this machine; nothing was installed
$said"
    mv -f "$new" "$directory/clarifier" || fail "$directory/clarifier cannot be replaced"
    new=
    made=
    say "Installed $said as $directory/clarifier"
    case :${PATH:-}: in
    *":$directory:"*) say "Try: clarifier upscale photo.jpg" ;;
    *)
        say "$directory is not on your PATH. Add this line to ~/.profile (or ~/.bashrc, ~/.zshrc) and open a new terminal:"
        say "  export PATH=\"$directory:\$PATH\""
        ;;
    esac
}

uninstall() {
    [ -f "$directory/clarifier" ] || fail "there is no $directory/clarifier; set CLARIFIER_INSTALL_DIR to the folder of the program"
    rm -f "$directory/clarifier" || fail "$directory/clarifier cannot be removed"
    say "Removed $directory/clarifier. Models that you downloaded stay in the Hugging Face cache (~/.cache/huggingface)."
}

find_target() {
    system=$(uname -s)
    machine=$(uname -m)
    case $system in
    Linux)
        # Musl's loader and no glibc's: Alpine and its like.
        if exists /lib/ld-musl-* && ! exists /lib*/ld-linux-* /lib/*/ld-linux-*; then
            fail "this Linux has musl in place of glibc, for which there is no archive; build from source: $repository"
        fi
        system=unknown-linux-gnu
        ;;
    Darwin)
        system=apple-darwin
        # A shell under Rosetta says x86_64 on Apple silicon.
        [ "$(sysctl -n hw.optional.arm64 2>/dev/null || :)" != 1 ] || machine=arm64
        ;;
    MINGW* | MSYS* | CYGWIN*) fail "on Windows run install.ps1 in PowerShell" ;;
    *) fail "there is no program for $system; build from source: $repository" ;;
    esac
    case $machine in
    x86_64 | amd64) target=x86_64-$system ;;
    aarch64 | arm64) target=aarch64-$system ;;
    *) fail "there is no program for $machine processors; build from source: $repository" ;;
    esac
}

# Whether one of the files exists: patterns that match nothing stay as they are.
exists() {
    for file in "$@"; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

# Download URL $1 to file $2.
download() {
    if command -v curl >/dev/null 2>&1; then
        # No redirect may leave https.
        case $1 in https:*) secure="--proto =https --tlsv1.2" ;; *) secure= ;; esac
        # shellcheck disable=SC2086 # Several options, or none.
        curl -fsSL $secure -o "$2" "$1" || fail "cannot download $1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1" || fail "cannot download $1"
    else
        fail "curl or wget is missing; install one and run this script again"
    fi
}

# Name the program that computes SHA-256.
find_sha256() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256=sha256sum
    elif command -v shasum >/dev/null 2>&1; then
        sha256="shasum -a 256"
    elif command -v openssl >/dev/null 2>&1; then
        sha256="openssl dgst -sha256 -r"
    else
        fail "sha256sum, shasum or openssl is missing; install one and run this script again"
    fi
}

# The last line, so that a download that was cut off runs nothing.
main "$@"
