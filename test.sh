#!/usr/bin/env bash
# Sets up what is missing, then checks style, types and behaviour: ./test.sh [pytest's arguments]
# PYTHON=python3.13 chooses another Python; SOAK=3 lets calls come and go for three minutes at the end.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. tools/setup.sh

wanted=(sip-tester=sipp baresip-core=baresip linphone-cli=linphonec shellcheck=shellcheck)
# Debian starts a proxy as soon as it is installed, on the port of the server: only a CI machine may be asked for that
PATH=$PATH:/usr/sbin
if [[ -n ${CI:-} ]]; then wanted+=(kamailio=kamailio); fi
if ((EUID != 0)); then
    for pair in "${wanted[@]}"; do
        have "${pair#*=}" || say "Without ${pair#*=} (package ${pair%%=*}) the tests that need it are skipped."
    done
    wanted=()
fi
set_up ffmpeg=ffmpeg "${wanted[@]}" requirements.txt requirements-dev.txt
bin=$(dirname "$python")

failed=()
check() { # COMMAND...
    say "== ${1##*/} ${*:2}"
    "$@" || failed+=("${1##*/} ${2:-}")
}

audit() { # is anything known against what we install? Not every machine reaches the list of that
    local said
    if [[ ! -x $bin/pip-audit ]]; then say "Not audited with Python $version." && return; fi
    if said=$("$bin/pip-audit" --progress-spinner off -r requirements.txt 2>&1); then
        if [[ $said == *'Skip Reason'* ]]; then say "NOT AUDITED, the list knows nothing of:"; fi
        say "$said"
    elif [[ $said == *'known vulnerabilit'* ]]; then
        say "$said"
        return 1
    else
        say "NOT AUDITED: ${said##*$'\n'}"
    fi
}

say "Python $version, $(ffmpeg -version | cut -d' ' -f1-3 | head -n1)"
check "$bin/ruff" check .
check "$bin/ruff" format --check .
check "$bin/mypy"
! have shellcheck || check shellcheck start.sh test.sh tools/setup.sh tools/build_ffmpeg.sh .ci/run
check "$bin/hadolint" --ignore DL3008 Dockerfile
! docker compose version &>/dev/null || check docker compose config --quiet
if [[ -n ${CI:-} ]]; then check audit; fi
check "$bin/pytest" "$@"
[[ -z ${SOAK:-} ]] || check "$bin/python" -m bench.soak --minutes "$SOAK"

if ((${#failed[@]})); then
    printf 'Failed: %s\n' "${failed[@]}"
    exit 1
fi
