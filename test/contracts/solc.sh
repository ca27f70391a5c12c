#!/bin/sh
# The npm compiler behind the command line that forge expects of a native solc.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
exec "${SINTER_NODE:-node}" "$here/solc.ts" "$@"
