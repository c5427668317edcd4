# Makes the virtual environment $1 with the first Python 3.11 or newer that can make one; does nothing if a sound one is there.
set -eu
venv=$1

good='import sys; sys.exit(sys.version_info < (3, 11))'

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "$good; import pip" >/dev/null 2>&1; then
    exit 0
fi

older=
without_venv=
for name in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
    # A name on the PATH may be a shim without a Python behind it: only what runs counts.
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$name" -c "$good" 2>/dev/null; then
        older="$older $name ($version)"
        continue
    fi
    if ! "$name" -c 'import venv, ensurepip' 2>/dev/null; then
        without_venv="$name ($version)"
        continue
    fi
    echo "making $venv with $name ($version)"
    rm -rf "$venv"
    exec "$name" -m venv "$venv"
done

{
    if [ -n "$without_venv" ]; then
        echo "Found $without_venv, but it cannot make virtual environments: install its venv module"
        echo "(Debian, Ubuntu: apt-get install python3-venv), then call make again."
    else
        echo "Holdfast needs Python 3.11 or newer, found${older:- none}."
        echo "Install one, or say which to take: make PYTHON=/path/to/python3.11 ..."
    fi
} >&2
exit 1
