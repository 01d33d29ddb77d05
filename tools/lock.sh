#!/usr/bin/env bash
# Writes requirements.txt, requirements-compile.txt and requirements-dev.txt anew: all packages that [dependency-groups]
# in pyproject.toml needs, with version and hashes, for every Python from 3.9 on. Versions that still fit stay;
# `tools/lock.sh --upgrade` takes the newest ones. Arguments go to `uv pip compile`. Run .ci/run afterwards, and commit
# what passes.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
refuse() {
    printf '%s\n' "$2" >&2
    printf 'Nothing is changed: %s\n' "$1" >&2
    exit 1
}

"${PYTHON:-python3}" -m venv "$temporary/venv"
output=$("$temporary/venv/bin/python" -m pip install -q --disable-pip-version-check 'uv>=0.13,<1' 2>&1) ||
    refuse 'the package uv cannot be installed; expected a network with a package index for pip.' "$output"

for group in server compile dev; do
    file=requirements-$group.txt
    [[ $group != server ]] || file=requirements.txt
    cp "$file" "$temporary/$file"
    output=$("$temporary/venv/bin/uv" pip compile --group "pyproject.toml:$group" --output-file "$temporary/$file" \
        --universal --python-version 3.9 --generate-hashes --only-binary :all: --emit-build-options \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet "$@" 2>&1) ||
        refuse "the packages of the group $group cannot be chosen." "$output"
done

for file in requirements.txt requirements-compile.txt requirements-dev.txt; do
    {
        echo "# Made by tools/lock.sh from [dependency-groups] in pyproject.toml: the tested versions, and their hashes."
        cat "$temporary/$file"
    } >"$file"
done
