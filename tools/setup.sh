#!/usr/bin/env bash
# Sets up everything vlarl needs: system libraries for off-screen rendering, a virtual environment in .venv,
# and the pinned dependencies. Doing it again costs nothing: a stamp remembers what was installed.
#
#   tools/setup.sh            set up
#   tools/setup.sh --force    install the Python packages again
#
# VLARL_PYTHON names the interpreter to use (3.11 or newer); VLARL_EXTRAS the optional parts (default: libero,mujoco,bench,carla,dev).
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.vlarl-setup
extras=${VLARL_EXTRAS:-libero,mujoco,bench,carla,dev}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# What must be loadable -> the Debian package that brings it.
libraries=(
  "libOSMesa.so.8:libosmesa6"
  "libEGL.so.1:libegl1"
  "libGL.so.1:libgl1"
  "libGLESv2.so.2:libgles2"
  "libOpenGL.so.0:libopengl0"
  "libglib-2.0.so.0:libglib2.0-0"
)

say() { printf '%s\n' "$*"; }

fail() { # message, the one command that fixes it
  printf '\nset-up failed: %s\n' "$1" >&2
  if [ -s "$log" ]; then
    printf -- '--- last lines of its output ---\n' >&2
    tail -n 15 "$log" | sed -E 's#[A-Za-z+]+://[^[:space:]]*#<address>#g' >&2
    printf -- '--------------------------------\n' >&2
  fi
  printf 'Fix it with:  %s\n' "$2" >&2
  exit 1
}

step() { # text, fix, command...: runs the command quietly and prints how long it took
  local text=$1 fix=$2 began=$SECONDS
  shift 2
  printf '  %-58s' "$text"
  if "$@" >"$log" 2>&1; then
    printf '%4d s\n' $((SECONDS - began))
  else
    fail "$text" "$fix"
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

has_library() {
  local known
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p) # ldconfig is not on an ordinary user's path
  [[ $known == *"$1"* ]]
}

find_python() {
  local candidate
  for candidate in ${VLARL_PYTHON:-python3.11 python3 python3.12 python3.13}; do
    # Run it: a version manager's stand-in may exist without the version behind it.
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

install_system_packages() { # packages...
  local install="apt-get update && apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" -ne 0 ]; then
    install="sudo sh -c '$install'"
    command -v sudo >/dev/null || fail "installing $* needs root, and there is no sudo" "su -c '${install#sudo sh -c }'"
  fi
  command -v apt-get >/dev/null || fail "no apt-get here, and these are missing: $*" "install the equivalents of: $*"
  # An index that cannot be refreshed may still do.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >"$log" 2>&1 || true
  step "system packages: $*" "$install" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

check_system() {
  local entry missing=()
  for entry in "${libraries[@]}"; do
    has_library "${entry%%:*}" || missing+=("${entry##*:}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    install_system_packages "${missing[@]}"
    as_root ldconfig || true
  fi
}

make_venv() {
  local python
  if ! python=$(find_python); then
    install_system_packages python3 python3-venv
    python=$(find_python) || fail "no Python 3.11 or newer found" "VLARL_PYTHON=/path/to/python3.11 tools/setup.sh"
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install_system_packages "python3-venv"
  fi
  step "virtual environment ($("$python" -V), $venv)" "rm -rf $venv && $python -m venv $venv" "$python" -m venv "$venv"
}

usable_venv() { # new enough, and made at this place: its scripts hold the path
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    grep -qF "$(pwd -P)/$venv" "$venv/bin/activate" 2>/dev/null
}

install_python_packages() {
  # Bytecode of what is imported is written then; compiling all 17,000 files here takes a third of the set-up.
  local pip=("$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check --no-input -c constraints.txt)
  local retry="tools/setup.sh --force"
  # torch goes first and exactly: nothing after it may exchange its build.
  step "torch $(sed -n 's/^torch==//p' constraints.txt)" "$retry" "${pip[@]}" "torch==$(sed -n 's/^torch==//p' constraints.txt)"
  step "build back end" "$retry" "${pip[@]}" hatchling
  step "vlarl, editable, with ${extras//,/ and }" "$retry" "${pip[@]}" --no-build-isolation -e ".[$extras]"
  step "checking the environment" "rm -rf $venv && tools/setup.sh" "$venv/bin/python" -m pip check --disable-pip-version-check
}

fingerprint() {
  { cat pyproject.toml constraints.txt tools/setup.sh; echo "$extras $PWD"; } | sha256sum | cut -d' ' -f1
}

began=$SECONDS
wanted=$(fingerprint)
[ "${1:-}" = "--force" ] && rm -f "$stamp"
check_system
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c 'import vlarl' 2>/dev/null; then
  say "set-up: everything is in place"
  exit 0
fi
say "set-up: Python packages into $venv (about 3.5 GB; two to five minutes the first time)"
usable_venv || { rm -rf "$venv"; make_venv; }
install_python_packages
printf '%s\n' "$wanted" >"$stamp"
say "set-up: done in $((SECONDS - began)) s"
