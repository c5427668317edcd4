# Renews requirements.txt and requirements-dev.txt: for every Python from 3.11 on and every platform, with all hashes.
set -eu
tool=var/lock
[ -x "$tool/bin/uv" ] || { sh stack/venv.sh "$tool" && "$tool/bin/python" -m pip install --quiet uv; }
for name in requirements requirements-dev; do
    "$tool/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command 'make lock' "$@" "$name.in" -o "$name.txt"
done
