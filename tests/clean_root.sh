#!/usr/bin/env bash
# Runs a command of this checkout's HEAD in a fresh, minimal Debian 12 root, as somebody would who has nothing but a clone:
#
#   tests/clean_root.sh deploy/demo.sh --steps 10
#   tests/clean_root.sh tests/run.sh
#
# Needs root, debootstrap and git. ALPA_ROOT names the folder for the root (default: a temporary one, removed at the end;
# one that is there already is used as it is, which shows what a second run does). What this machine needs to reach
# Debian and PyPI (certificates, pip's environment variables) is carried over.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
(($#)) || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
((EUID == 0)) || { echo "clean_root.sh: needs root, for chroot" >&2; exit 1; }

root=${ALPA_ROOT:-$(mktemp -d)/root}
cleanup() {
  for mount in dev/shm dev proc sys; do mountpoint -q "$root/$mount" && umount -l "$root/$mount"; done
  [[ -n "${ALPA_ROOT:-}" ]] || rm -rf "$(dirname "$root")"
}
trap cleanup EXIT

if [[ ! -x "$root/bin/bash" ]]; then
  debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian >/dev/null
fi
if [[ -s /etc/ssl/certs/ca-certificates.crt ]]; then
  mkdir -p "$root/etc/alpa-certificates"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/alpa-certificates/"
fi
cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
if [[ ! -d "$root/root/alpa" ]]; then
  git clone -q "$checkout" "$root/root/alpa"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"
mount --rbind /sys "$root/sys" && mount --make-rslave "$root/sys"

environment=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" LANG=C.UTF-8)
[[ -d "$root/etc/alpa-certificates" ]] && environment+=(PIP_CERT=/etc/alpa-certificates/ca-certificates.crt)
while IFS= read -r line; do [[ "$line" == PIP_CERT=* || "$line" == PIP_FIND_LINKS=* ]] || environment+=("$line"); done \
  < <(env | grep -E '^(PIP_|http_proxy=|https_proxy=|no_proxy=)' || true)
printf -v command '%q ' "$@"
chroot "$root" env -i "${environment[@]}" bash -c "cd /root/alpa && exec $command"
