#!/bin/sh
# The kernel image's entry: becomes ipykernel. The environment is the container's.
# The interpreter's own programs first, so that "!python" and "!pip" in a cell are the kernel's.
export PATH="/opt/kernel/bin:$PATH"
# Matplotlib's font list lies in the image; without it the first plot takes a second more.
export MPLCONFIGDIR="${MPLCONFIGDIR:-/tmp/matplotlib}"
mkdir -p "$MPLCONFIGDIR" && cp /usr/share/cellblock/matplotlib/* "$MPLCONFIGDIR" 2>/dev/null
# A directory that is missing now would not be looked into before the next start.
mkdir -p "$HOME/.local/packages" 2>/dev/null
# Frozen modules hide standard library lines from the debugger, which then warns.
exec /opt/kernel/bin/python -Xfrozen_modules=off -m ipykernel_launcher -f /run/cellblock/conf/connection.json
