#!/bin/sh
# Installs Debian's chromium, for the test of the report's page.
. "$(dirname -- "$0")/common.sh"

command -v chromium >/dev/null 2>&1 && exit 0
need_root "installing chromium"
need_command apt-get "the browser test uses Debian's chromium"
say "installing chromium"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
