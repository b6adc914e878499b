#!/bin/sh
# Installs Debian packages without starting the services that some of them carry: the tests start their own servers.
# Usage, as root: install-debian.sh PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
# A policy that is there already is somebody's decision and stays.
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -q
apt-get install -y -q --no-install-recommends "$@"
