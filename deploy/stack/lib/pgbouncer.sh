# shellcheck shell=bash
# PgBouncer, for tests: the machine's own, or Debian's packages, unpacked and not installed.

# Sets `pgbouncer`, the folder of the program, and `libraries`, that of what it needs beside it, if anything.
need_pgbouncer() {
  local folder=$base/cache/pgbouncer own
  libraries=''
  own=$(PATH=$PATH:/usr/sbin command -v pgbouncer) || fetch_pgbouncer "$folder"
  pgbouncer=${own:+${own%/*}}
  [ -z "$pgbouncer" ] || return 0
  pgbouncer=$folder/usr/sbin
  libraries=$(dirname "$(find "$folder" -name 'libevent-2.1.so*' | head -n 1)")
}

fetch_pgbouncer() {
  local folder=$1 package log=$base/cache/pgbouncer.log
  [ ! -d "$folder" ] || return 0
  { has apt-get && has dpkg-deb; } || die "needs PgBouncer: install it (Debian: apt-get install pgbouncer; macOS: brew install pgbouncer)"
  say "fetching PgBouncer from Debian's packages…"
  rm -rf "$folder.new" "$folder.packages"
  mkdir -p "$folder.new" "$folder.packages"
  (
    cd "$folder.packages"
    apt-cache show pgbouncer || apt-get update
    # shellcheck disable=SC2046 # one word a package
    apt-get download pgbouncer $(apt-cache depends pgbouncer | grep -oE '(libevent-2|libc-?ares)[^ >]*')
    for package in *.deb; do dpkg-deb -x "$package" "$folder.new"; done
  ) >"$log" 2>&1 || {
    cat "$log" >&2
    die "PgBouncer could not be fetched; the message is above. It may be installed instead (apt-get install pgbouncer)"
  }
  chmod -R a+rX "$folder.new"
  rm -rf "$folder.packages"
  mv "$folder.new" "$folder"
}
