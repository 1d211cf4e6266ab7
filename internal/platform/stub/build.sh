#!/bin/sh
# build.sh OUT: builds the stub. Debian 12's gcc gives the same bytes every time.
set -eu
cd "$(dirname "$0")"
exec ${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-parentheses -ffreestanding -fno-stack-protector -fno-pic -fno-pie -no-pie \
	-mcmodel=large -mgeneral-regs-only -mno-red-zone -fcf-protection=none -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
	-fno-strict-aliasing -fomit-frame-pointer -fno-jump-tables -nostdlib -static -Wl,-T,stub.ld -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-s -o "$1" \
	entry.S stub.c talk.c ops.c frame.c calls.c socks.c
