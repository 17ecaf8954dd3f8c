# shellcheck shell=bash
# The two services as release binaries, with the stack's servers or (stack `none`) those the environment names.

services="stamp-api queue-listener"
# ADMIN_ADDR is one setting of each service; here the two need a name each.
: "${HTTP_ADDR:=127.0.0.1:8000}" "${API_ADMIN_ADDR:=127.0.0.1:9464}" "${LISTENER_ADMIN_ADDR:=127.0.0.1:9465}"

service_pid() { pid_in "$dir/run/$1.pid" "/$1"; }

admin_addr() { if [ "$1" = stamp-api ]; then echo "$API_ADMIN_ADDR"; else echo "$LISTENER_ADMIN_ADDR"; fi; }

# reachable ADDR: the same with a host to connect to instead of "all interfaces".
reachable() {
  case $1 in
    0.0.0.0:*) echo "127.0.0.1:${1##*:}" ;;
    '[::]:'*) echo "[::1]:${1##*:}" ;;
    *) echo "$1" ;;
  esac
}

# Ends unless both services can be started.
prepare_services() {
  local service
  for service in $services; do runnable "$service" >/dev/null; done
  ! has_no_key || secret jwt >/dev/null
  want_addr HTTP_ADDR API_URL stamp-api
  want_addr API_ADMIN_ADDR ADMIN_URL "stamp-api (admin server)"
  want_addr LISTENER_ADMIN_ADDR LISTENER_ADMIN_URL "queue-listener (admin server)"
}

# want_addr VARIABLE URL WHO: URL is what services.env calls that address.
want_addr() {
  local addr last
  addr=$(reachable "${!1}")
  # On an address that it has already, the service itself is who answers. What root has recorded in an earlier version
  # the servers' user can't read.
  last=$(recorded "$2") || true
  if service_pid "${3%% *}" >/dev/null && [ "$addr" = "${last:-$addr}" ]; then return; fi
  [[ $addr =~ ^\[?([^]]+)]?:([1-9][0-9]*)$ ]] || die "$1=${!1}: the stack needs HOST:PORT with a fixed port, as in 127.0.0.1:8000"
  want_port "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$3" "$1"
}

# binary SERVICE: where cargo puts it.
binary() {
  local target=${CARGO_TARGET_DIR:-target}
  case $target in /*) ;; *) target=$root/$target ;; esac
  echo "$target/release/$1"
}

# runnable SERVICE: prints its binary, or a copy where the servers' user can't reach the checkout.
runnable() {
  local original copy=$base/bin/$1
  original=$(binary "$1")
  [ -x "$original" ] || die "$original is missing: run 'make up', or 'cargo build --release --locked -p $1'"
  if as_server test -x "$original"; then
    echo "$original"
    return
  fi
  mkdir -p "$base/bin"
  chmod 755 "$base/bin"
  # Moved into place: the old one may be running.
  if [ ! -f "$copy" ] || ! cmp -s "$original" "$copy"; then
    cp "$original" "$copy.new"
    chmod 755 "$copy.new"
    mv "$copy.new" "$copy"
  fi
  echo "$copy"
}

# with_settings SERVICE COMMAND…: relative paths in settings mean the checkout.
with_settings() {
  (
    export_settings "$1"
    cd "$root"
    shift
    "$@"
  )
}

# export_settings SERVICE: what it needs; whatever else the caller has exported reaches it as well. For subshells.
export_settings() {
  if [ "$name" != none ]; then
    DATABASE_URL=$(database_url) || exit
    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$(kafka_port)
    export DATABASE_URL KAFKA_BOOTSTRAP_SERVERS
    unset DATABASE_URL_FILE
  fi
  ADMIN_ADDR=$(admin_addr "$1")
  export ADMIN_ADDR HTTP_ADDR
  if has_no_key; then
    JWT_SECRET=$(secret jwt) || exit
    export JWT_SECRET
  fi
}

# A key of the caller's own replaces the generated one.
has_no_key() {
  [ -z "${JWT_SECRET:-}${JWT_SECRET_FILE:-}${JWT_PUBLIC_KEY:-}${JWT_PUBLIC_KEY_FILE:-}" ]
}

# version SERVICE: changes when the binary or a setting of the services does.
version() {
  local binary
  binary=$(binary "$1")
  stat -L -c '%i %s %Y' "$binary" 2>/dev/null || stat -L -f '%i %z %m' "$binary"
  with_settings "$1" env | LC_ALL=C sort |
    grep -E '^(DATABASE|KAFKA|STAMPS?|MESSAGE|TOPIC|RUST_LOG|LOG_FORMAT|OTEL_|HTTP_ADDR|ADMIN_ADDR|JWT|BATCH_|MIN_BATCH|MAX_|INSTANCE_ID|SHUTDOWN_|HTTP_KEEP_ALIVE|HTTP_BODY)' | cksum
}

# Starts what is not running, and again what is of another version: an upgrade, or other settings.
start_services() {
  local service changed=''
  for service in $services; do is_current "$service" || changed="$changed $service"; done
  if [ -n "$changed" ]; then
    migrate
    for service in $changed; do
      stop_service "$service"
      start_service "$service"
    done
    service_urls | keep "$dir/run/services.env"
  fi
  for service in $services; do await "$service" 60 healthcheck service_pid; done
}

is_current() {
  service_pid "$1" >/dev/null && [ "$(version "$1")" = "$(as_server cat "$dir/run/$1.version" 2>/dev/null)" ]
}

migrate() {
  local binary
  binary=$(runnable stamp-api)
  say "migrating the database…"
  rotate_log migrate
  with_settings stamp-api logged migrate "$binary" migrate </dev/null 9>&- ||
    give_up migrate "'stamp-api migrate' failed"
}

start_service() {
  local binary
  binary=$(runnable "$1")
  say "starting $1…"
  # Without a command, both serve.
  with_settings "$1" start_daemon "$1" "$binary"
  version "$1" | keep "$dir/run/$1.version"
}

# A little more than the service allows itself.
stop_service() { stop_daemon "$1" TERM $((${SHUTDOWN_TIMEOUT_SECS:-10} + ${SHUTDOWN_DELAY_SECS:-0} + 5)) KILL service_pid "$1"; }

# healthcheck SERVICE: whether it is ready; prints why not, or what needs attention. Of the environment it needs the
# address alone: what else is set is meant for a start.
healthcheck() {
  local binary=$base/bin/$1
  [ -x "$binary" ] || binary=$(binary "$1")
  as_server env -i ADMIN_ADDR="$(admin_addr "$1")" "$binary" healthcheck 2>&1 |
    sed -e 's/^error: //' -e '/^{"status":"ready"}$/d'
}

# The addresses and the key, as NAME=value lines.
service_urls() {
  local key
  echo "API_URL=http://$(reachable "$HTTP_ADDR")"
  echo "ADMIN_URL=http://$(reachable "$API_ADMIN_ADDR")"
  echo "LISTENER_ADMIN_URL=http://$(reachable "$LISTENER_ADMIN_ADDR")"
  if has_no_key; then
    key=$(secret jwt) || exit
    echo "JWT_SECRET=$key"
  elif [ -n "${JWT_SECRET:-}" ]; then
    echo "JWT_SECRET=$JWT_SECRET"
  elif [ -n "${JWT_SECRET_FILE:-}" ]; then
    echo "JWT_SECRET=$(cat "$JWT_SECRET_FILE")"
  fi
  [ -z "${JWT_AUDIENCE:-}" ] || echo "JWT_AUDIENCE=$JWT_AUDIENCE"
  [ -z "${JWT_ISSUER:-}" ] || echo "JWT_ISSUER=$JWT_ISSUER"
}

services_run() { as_server test -r "$dir/run/services.env" && { service_pid stamp-api || service_pid queue-listener; } >/dev/null; }

# The same of running services, whatever the environment says now.
running_service_urls() { if services_run; then as_server cat "$dir/run/services.env"; else service_urls; fi; }

adopt_running_addresses() {
  services_run || return 0
  HTTP_ADDR=$(recorded API_URL)
  API_ADMIN_ADDR=$(recorded ADMIN_URL)
  LISTENER_ADMIN_ADDR=$(recorded LISTENER_ADMIN_URL)
}

# recorded URL: the address that services were started with last.
recorded() { as_server sed -n "s|^$1=http://||p" "$dir/run/services.env" 2>/dev/null; }

# print_token ARGS…: a token that the running stamp-api accepts.
print_token() {
  local binary line
  use_running
  binary=$(runnable stamp-api)
  unset JWT_SECRET JWT_SECRET_FILE JWT_PUBLIC_KEY JWT_PUBLIC_KEY_FILE JWT_AUDIENCE JWT_ISSUER STAMPS_REQUIRE_AUTH
  while read -r line; do
    case $line in JWT_*) export "${line?}" ;; esac
  done < <(running_service_urls)
  [ -n "${JWT_SECRET:-}" ] || die "stamp-api checks tokens with JWT_PUBLIC_KEY: whoever has the private key signs them, or 'make up' with a JWT_SECRET instead"
  exec "${as_user[@]}" "$binary" token "$@"
}

# One more replica in the foreground, on a free admin port; Ctrl-C is its own.
run_listener() {
  local binary
  use_running
  binary=$(runnable queue-listener)
  export_settings queue-listener
  export ADMIN_ADDR=127.0.0.1:0
  # A second instance needs a name of its own: its host and process id.
  unset INSTANCE_ID
  cd "$root"
  exec "${as_user[@]}" "$binary" run
}
