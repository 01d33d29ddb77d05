#!/usr/bin/env bash
# Sets up what is missing, converts the music, starts the server: ./start.sh [--help]
# Every setting is an environment variable; --help lists them. PYTHON=python3.13 chooses another Python.
set -euo pipefail

# A relative path is meant from where the caller stands, not from this script's folder.
for name in MOH_MUSIC MOH_CACHE; do
    path=${!name:-}
    if [[ -n $path && $path != [/~]* ]]; then export "$name=$PWD/$path"; fi
done
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. tools/setup.sh

for argument in "$@"; do
    case $argument in
        -h | --help)
            set_up requirements.txt
            exec "$python" sip_server.py --help
            ;;
    esac
done

set_up ffmpeg=ffmpeg ffmpeg=ffprobe requirements.txt

# In the background, because a shell that waits for a command in front, as process 1, is deaf to `docker stop`.
converting=
trap 'kill "$converting" 2>/dev/null; exit 143' TERM INT
"$python" -m moh.music &
converting=$!
wait "$converting"

exec "$python" sip_server.py "$@"
