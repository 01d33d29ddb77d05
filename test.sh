#!/usr/bin/env bash
# Installs what is missing, then checks style, types and behaviour: ./test.sh [arguments of pytest]
# PYTHON=python3.13 chooses another Python; SOAK=3 makes and ends calls for three minutes after the tests; COMPILED=1 then
# compiles the core and tests it in that form.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. tools/setup.sh

wanted=(sip-tester=sipp baresip-core=baresip linphone-cli=linphonec shellcheck=shellcheck)
# Debian starts kamailio at its installation, on the port of the server, and prometheus on the port 9090; chromium and
# tshark are large: so they are installed only on a CI machine
PATH=$PATH:/usr/sbin
if [[ -n ${CI:-} ]]; then
    wanted+=(kamailio=kamailio prometheus=promtool tshark=tshark sngrep=sngrep chromium=chromium)
fi
if [[ -n ${COMPILED:-} ]]; then wanted+=(build-essential=gcc); fi
if ((EUID != 0)); then
    for pair in "${wanted[@]}"; do
        have "${pair#*=}" || say "Without ${pair#*=} its tests are skipped. To run them: apt-get install ${pair%%=*}"
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

audit() { # are vulnerabilities known of the packages in requirements.txt? Not every machine can reach the list
    local output
    if [[ ! -x $bin/pip-audit ]]; then say "NOT AUDITED: pip-audit needs Python 3.10, this is $version." && return; fi
    if output=$("$bin/pip-audit" --progress-spinner off -r requirements.txt 2>&1); then
        if [[ $output == *'Skip Reason'* ]]; then say "NOT AUDITED, the list does not have:"; fi
        say "$output"
    elif [[ $output == *'known vulnerabilit'* ]]; then
        say "$output"
        return 1
    else
        say "NOT AUDITED: ${output##*$'\n'}"
    fi
}

say "Python $version, $(ffmpeg -version | cut -d' ' -f1-3 | head -n1)"
check "$bin/ruff" check .
check "$bin/ruff" format --check .
check "$bin/mypy"
! have shellcheck || check shellcheck start.sh test.sh tools/setup.sh tools/build_ffmpeg.sh tools/lock.sh .ci/run
check "$bin/hadolint" --ignore DL3008 Dockerfile
! docker compose version &>/dev/null || check docker compose config --quiet
if [[ -n ${CI:-} ]]; then check audit; fi
# Most tests of whole servers and ffmpegs wait: four run side by side. A file's tests stay in one process, since they share
# servers; the files keep their order, in which the longest come first.
parallel=(-n 4 --dist loadfile --no-loadscope-reorder)
check "$bin/pytest" "${parallel[@]}" "$@"
[[ -z ${SOAK:-} ]] || check "$bin/python" -m bench.soak --minutes "$SOAK"

compiled() { # are the core and the calls the same in the compiled form?
    local folder
    folder=$(mktemp -d)
    quietly "$bin/python" tools/compile_core.py "$folder"
    COMPILED_CORE=$folder "$bin/pytest" -q "${parallel[@]}" tests/common tests/sdp tests/guard tests/rtp tests/sip tests/e2e/test_calls.py
    rm -rf "$folder"
}
[[ -z ${COMPILED:-} ]] || check compiled

if ((${#failed[@]})); then
    printf 'Failed: %s\n' "${failed[@]}"
    exit 1
fi
