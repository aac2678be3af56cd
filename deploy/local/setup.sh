#!/usr/bin/env bash
# Installs what slidemill needs on a Debian machine and builds its page. Quick when nothing is to do.
#   setup.sh             what it takes to run and test slidemill
#   setup.sh containers  what it takes to build and run container images, too
#   setup.sh rabbitmq4   what it takes to make a Debian 13 with its RabbitMQ, too
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

say() {
    echo "setup: $*"
}

exec 9>.setup.lock
flock 9

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@" 9>&-
    elif command -v sudo >/dev/null; then
        sudo "$@" 9>&-
    else
        fail "installing needs root or sudo: run this once as root: apt-get install $missing"
    fi
}

# Installs Debian packages without starting the services that come with them.
install_packages() {
    command -v apt-get >/dev/null ||
        fail "there is no apt-get to install $missing with: run the containers instead, docker compose -f deploy/compose.yaml up"
    say "installing $missing"
    local policy=/usr/sbin/policy-rc.d made_policy=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=yes
    fi
    local lists
    lists=$(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null || true)
    local installed=yes
    [ -n "$lists" ] || as_root apt-get update -qq || installed=
    # Lists that were there may be old and name files that have gone: then once more with new ones.
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing >/dev/null ||
        { as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing >/dev/null; } ||
        installed=
    [ -z "$made_policy" ] || as_root rm -f "$policy"
    [ -n "$installed" ] || fail "apt-get could not install $missing: read what it said above, then run this again"
    if [ -d /run/systemd/system ]; then
        for service in rabbitmq-server nginx; do
            case " $missing " in *" $service"*) as_root systemctl disable --now "$service" >/dev/null 2>&1 || true ;; esac
        done
    fi
}

# --- Debian packages --------------------------------------------------------------------------------------------------
missing=""
need() { # need PACKAGE TEST...
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing${missing:+ }$package"
}
python=""
for candidate in python3.11 python3; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || fail "there is no Python 3.11: install it (on Debian 12: apt-get install python3 python3-venv) and run this again"
PATH=$PATH:/usr/sbin:/sbin
need python3-venv "$python" -c 'import ensurepip, venv'
need rabbitmq-server test -x /usr/lib/rabbitmq/bin/rabbitmq-server
need nginx-light command -v nginx
need chromium command -v chromium
need fonts-dejavu-core test -d /usr/share/fonts/truetype/dejavu
need libcurl4 test -e "/usr/lib/$(uname -m)-linux-gnu/libcurl.so.4"
need iproute2 command -v ss
if [ "${1:-}" = containers ]; then
    need buildah command -v buildah
    need debootstrap command -v debootstrap
elif [ "${1:-}" = rabbitmq4 ]; then
    need debootstrap command -v debootstrap
fi
[ -z "$missing" ] || install_packages

# --- Python packages --------------------------------------------------------------------------------------------------
wanted=$(cat requirements/dev.txt | sha256sum)
if [ "$(cat .venv/.requirements 2>/dev/null)" != "$wanted" ]; then
    say "installing Python packages into .venv"
    rm -f .venv/.ready
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt ||
        fail "pip could not install requirements/dev.txt: read what it said above, then run this again"
    echo "$wanted" >.venv/.requirements
fi

# --- the page ---------------------------------------------------------------------------------------------------------
page=services/upload/web
hash_of() { find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; }
locked=$(hash_of $page/package.json $page/package-lock.json)
sources=$(find $page \( -name node_modules -o -name dist \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat .venv/.page 2>/dev/null)" != "$sources" ] || [ ! -e $page/dist/index.html ] || [ ! -d $page/node_modules ]; then
    rm -f .venv/.ready
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
        fail "there is no Node 20.19 or newer to build the page with: install it (nodejs and npm) and run this again"
    if [ "$(cat .venv/.page-packages 2>/dev/null)" != "$locked" ] || [ ! -d $page/node_modules ]; then
        say "installing the page's packages"
        npm ci --prefix $page --no-audit --no-fund --loglevel=error 9>&- ||
            fail "npm could not install the page's packages: read what it said above, then run this again"
        echo "$locked" >.venv/.page-packages
    fi
    say "building the page"
    npm run --silent --prefix $page build -- --logLevel warn 9>&- ||
        fail "the page could not be built: read what npm said above"
    echo "$sources" >.venv/.page
fi

# --- the clients that the tests run -----------------------------------------------------------------------------------
clients=tests/clients
locked=$(hash_of $clients/package.json $clients/package-lock.json)
if [ "$(cat .venv/.clients 2>/dev/null)" != "$locked" ] || [ ! -d $clients/node_modules ]; then
    say "installing the clients that the tests run"
    npm ci --prefix $clients --no-audit --no-fund --loglevel=error 9>&- ||
        fail "npm could not install the packages of $clients: read what it said above, then run this again"
    echo "$locked" >.venv/.clients
fi

touch .venv/.ready
