#!/usr/bin/env bash
# Installs what is missing, then starts the server, which converts the music and plays it: ./start.sh [--help]
# Every setting is an environment variable; --help lists them. PYTHON=python3.13 chooses another Python.
set -euo pipefail

trap '' HUP USR1 # they are for the server, which handles them; before it runs they must not end this script

# A relative path starts at the caller's working folder, not at this script's folder.
for name in MOH_MUSIC MOH_CACHE; do
    path=${!name:-}
    if [[ -n $path && $path != [/~]* ]]; then export "$name=$PWD/$path"; fi
done
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. tools/setup.sh

for argument in "$@"; do
    case $argument in
        -h | --help)
            # The help needs no package. Without a Python that runs it, set_up says which one is needed.
            { read_version && [[ $version =~ ^3\.(9|[1-9][0-9])$ ]]; } || set_up requirements.txt
            exec "$python" sip_server.py --help
            ;;
    esac
done

set_up ffmpeg=ffmpeg requirements.txt

# The server converts the music first; until then it answers calls with 503.
exec "$python" sip_server.py "$@"
