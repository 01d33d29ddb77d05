#!/usr/bin/env bash
# Installs what is missing, then starts the server, which converts the music and plays it: ./start.sh [--help]
# ./start.sh --explain [FILE] starts none: it tells what the server would answer to a pasted INVITE.
# ./start.sh --check says what is wrong with the set-up and the running server, and what to do (docs/doctor.md).
# Every setting is an environment variable; --help lists them. The file .env may set them too, as for Docker Compose;
# a variable of the shell comes first. PYTHON=python3.13 chooses another Python.
set -euo pipefail

trap '' HUP USR1 USR2 # they are for the server, which handles them; before it runs they must not end this script

with_home() { # TEXT: print it with its $HOME replaced
    local text=${1//\$HOME/"${HOME:-}"} # quoted: from bash 5.2 on, & stands for what was found
    text=${text//\$\{HOME\}/"${HOME:-}"}
    printf %s "$text"
}

read_env() { # FILE: export the settings that it has, as Docker Compose reads them
    local line name value exported=" "
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line#$'\xef\xbb\xbf'}
        [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?((MOH|moh)[_-][^[:space:]=:]*|PYTHON|TZ)[[:space:]]*[=:](.*)$ ]] || continue
        name=${BASH_REMATCH[2]} value=${BASH_REMATCH[4]}
        value=${value#"${value%%[![:space:]]*}"}
        case $value in
            \'*\'*) value=${value#\'} value=${value%%\'*} ;;
            \"*\"*) value=${value#\"} value=$(with_home "${value%%\"*}") ;;
            *) value=${value%%[[:space:]]#*} value=$(with_home "${value%"${value##*[![:space:]]}"}") ;;
        esac
        if [[ ${value:0:2} == \~/ ]]; then value=${HOME:-}${value:1}; fi
        if [[ $name == *[!A-Za-z0-9_]* ]]; then
            printf '%s in the file .env is not a setting; expected a name of letters, digits and _\n' "$name" >&2
            exit 1
        fi
        # a variable of the shell comes first; of two lines the last one counts
        if [[ -z ${!name:-} || $exported == *" $name "* ]]; then export "$name=$value" && exported+="$name "; fi
    done <"$1"
}

# A relative path starts at the caller's working folder, not at this script's folder; in .env at this script's folder.
for name in MOH_MUSIC MOH_CACHE MOH_TLS_CERT MOH_TLS_KEY MOH_TRACE; do
    path=${!name:-}
    if [[ -n $path && $path != [/~]* ]]; then export "$name=$PWD/$path"; fi
done
arguments=() previous=
for argument in "$@"; do
    if [[ $previous == --explain && $argument != [/-]* ]]; then argument=$PWD/$argument; fi
    if [[ $argument == --explain=[!/-]* ]]; then argument=--explain=$PWD/${argument#--explain=}; fi
    arguments+=("$argument") previous=$argument
done
script=${BASH_SOURCE[0]}
if [[ -L $script ]]; then script=$(readlink -f "$script"); fi
if [[ $script == */* ]]; then CDPATH='' cd -P -- "${script%/*}/"; fi
if [[ -f .env ]]; then read_env .env; fi
. tools/setup.sh

for argument in "$@"; do
    case $argument in
        -h | --help)
            # The help needs no package. Without a Python that runs it, set_up says which one is needed.
            if [[ -f .installed ]]; then
                : # the image has all that is needed
            elif is_set_up requirements.txt; then
                python=$venv/bin/python
            elif ! read_version || ! is_supported; then
                set_up requirements.txt
            fi
            exec "$python" sip_server.py --help
            ;;
        --explain*)
            [[ -f .installed ]] || set_up ffmpeg=ffmpeg requirements.txt >&2
            PATH=$PATH:$PWD/.ffmpeg exec "$python" sip_server.py "${arguments[@]}"
            ;;
        --check)
            # It installs and builds nothing: that ffmpeg is missing is one of its findings.
            if [[ ! -f .installed ]] && is_set_up requirements.txt; then python=$venv/bin/python; fi
            PATH=$PATH:$PWD/.ffmpeg exec "$python" sip_server.py "$@"
            ;;
    esac
done

[[ -f .installed ]] || set_up ffmpeg=ffmpeg requirements.txt # the image has the file, and all that is needed

# Debian's ffmpeg loads 200 libraries for each call. Where a compiler and all else that is needed are installed, a slim
# one is built at the lowest priority, a minute after the start; it plays from the next call on.
PATH=$PATH:$PWD/.ffmpeg
build_slim() { # PID: wait a minute, then build while the server with this number runs
    sleep 60
    kill -0 "$1" || return
    mkdir -p .ffmpeg
    exec 9>.ffmpeg/lock
    flock -n 9 || return
    set -m # a process group for the build
    (INSTALL=no nice -n 19 tools/build_ffmpeg.sh .ffmpeg && mv .ffmpeg/ffmpeg .ffmpeg/moh-ffmpeg) &
    while kill -0 $! 2>/dev/null; do
        kill -0 "$1" 2>/dev/null || kill -- -$!
        sleep 2
    done
}
if [[ -x tools/build_ffmpeg.sh && -w . ]] && have gcc && [[ ! tools/build_ffmpeg.sh -ot .ffmpeg/moh-ffmpeg ]]; then
    (build_slim $$ </dev/null >/dev/null 2>.ffmpeg.log &)
fi

exec "$python" sip_server.py "$@"
