# shellcheck shell=bash
# Functions for start.sh and test.sh, which source this from the project's folder. They install what is missing, and
# are quick and silent when nothing is. PYTHON chooses another interpreter, which gets its own .venv-X.Y.

python=${PYTHON:-python3}
version= # of $python, such as 3.9; set by read_version
venv=.venv

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null; }
quietly() { # COMMAND...: show its output only if it fails
    local output
    output=$("$@" </dev/null 2>&1) || fail "$output"$'\n'"Failed: $*"
}

install_packages() { # NAME...: system packages that are missing
    have apt-get || fail "Missing: $*. Please install these packages, whatever your system calls them."
    ((EUID == 0)) || fail "Missing: $*. Please run: sudo apt-get install -y $*"
    say "Installing $* ..."
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update </dev/null &>/dev/null || true # an old list may be enough; if not, the next line fails
    quietly "${apt[@]}" install -y --no-install-recommends "$@"
}

is_supported() { [[ $version =~ ^3\.(9|[1-9][0-9])$ ]]; } # after read_version
read_version() { version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); }

venv_package() { # the package that Debian and Ubuntu need to make virtual environments with $python
    case $(basename "$python") in
        python3.*) echo "$(basename "$python")-venv" ;;
        *) echo python3-venv ;;
    esac
}

stamp() { # FILE: what the virtual environment keeps when it has the packages that FILE lists
    printf '# %s\n%s\n' "$version" "$(<"$1")"
}

in_venv() { # FILE...: has the virtual environment the packages that these list, for this version of Python?
    local file
    [[ -x $venv/bin/python ]] || return 1
    for file in "$@"; do
        [[ -f $venv/$file && $(<"$venv/$file") == "$(stamp "$file")" ]] || return 1
    done
}

# The same, for whatever Python the virtual environment was made; sets $venv and $version. It starts no program, since
# to ask python3 for its version takes longer than all the rest. So a virtual environment keeps its Python, whatever
# python3 is now, until that Python is gone or has another version.
is_set_up() { # FILE...
    local line home=
    case ${PYTHON:-} in
        '') ;;
        *python3.*) venv=.venv-${PYTHON##*python} ;;
        *) return 1 ;;
    esac
    [[ -r $venv/pyvenv.cfg && -r $venv/$1 ]] || return 1
    while IFS= read -r line; do
        [[ $line != 'home = '* ]] || home=${line#*= }
    done <"$venv/pyvenv.cfg"
    read -r line <"$venv/$1"
    version=${line#'# '}
    [[ $venv/bin/python -ef $home/python$version ]] && in_venv "$@"
}

in_python() { # FILE: has the interpreter itself the very packages that it lists (as in the container)?
    "$python" - "$1" 2>/dev/null <<'PYTHON'
import re, sys
from importlib.metadata import version
for line in open(sys.argv[1]):
    found = re.match(r"([\w.-]+)==([\w.]+)", line)
    if found and version(found[1]) != found[2]:
        sys.exit(1)
PYTHON
}

# Sets $python to an interpreter that has the packages which FILEs list.
# NAME=COMMAND: a system package to install if the command is missing.
set_up() { # [NAME=COMMAND ...] [FILE ...]
    local argument package files=() missing=() make_venv=
    for argument in "$@"; do
        case $argument in
            *=*)
                package=${argument%%=*}
                have "${argument#*=}" || [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
                ;;
            *) files+=("$argument") ;;
        esac
    done

    if ((${#missing[@]} == 0)) && is_set_up "${files[@]}"; then
        python=$PWD/$venv/bin/python
        return
    fi
    if read_version; then
        is_supported || fail "Python 3.9 or newer is needed; $python is $version."
        [[ -z ${PYTHON:-} ]] || venv=.venv-$version
        if ! in_venv "${files[@]}" && ! { ((${#files[@]} == 1)) && in_python "${files[0]}"; }; then
            make_venv=1
            "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$(venv_package)")
        fi
    elif [[ -n ${PYTHON:-} ]]; then
        fail "PYTHON=$PYTHON does not run. Please set PYTHON to an interpreter, such as python3.13."
    else
        make_venv=1
        missing+=(python3 python3-venv)
    fi
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
    [[ -n $version ]] || read_version || fail "$python does not run."

    [[ -z $make_venv ]] || fill_venv "${files[@]}"
    if in_venv "${files[@]}"; then python=$PWD/$venv/bin/python; fi
}

fill_venv() { # FILE...: install the packages that these list into the virtual environment
    local file stale=
    say "Installing Python packages into $venv ..."
    for file in "$@"; do # a package that is listed no more must not stay
        if [[ -f $venv/$file && $(<"$venv/$file") != "$(stamp "$file")" ]]; then stale=1; fi
    done
    if [[ -n $stale || $("$venv/bin/python" -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) != "$version" ]]; then
        [[ ! -L $venv ]] || fail "$venv is a link, and to make it anew would empty the folder that it leads to. Please remove the link."
        quietly "$python" -m venv --clear "$venv"
    fi
    for file in "$@"; do
        quietly "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$file"
        stamp "$file" >"$venv/$file" # the next start compares it
    done
}
