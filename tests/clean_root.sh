#!/usr/bin/env bash
# Runs a command in a clone of this checkout, in a fresh, minimal Debian 12 root, as a new user would. The clone has no
# uncommitted changes:
#
#   tests/clean_root.sh deploy/demo.sh --steps 10
#   tests/clean_root.sh tests/run.sh
#
# Needs root privileges, debootstrap and git. ALPA_ROOT names the folder for the new root. By default the folder is
# temporary and is removed at the end. If ALPA_ROOT already contains a root from an earlier run, the command runs in
# that root. Copies this machine's certificates, proxy settings and pip settings, which Debian and PyPI may require.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
(($#)) || { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
((EUID == 0)) || { echo "clean_root.sh: needs root privileges for chroot; run it as root" >&2; exit 1; }

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
