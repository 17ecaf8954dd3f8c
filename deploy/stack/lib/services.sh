# shellcheck shell=bash
# The two services as release binaries, with the stack's servers or (stack `none`) those the environment names.

services="stamp-api queue-listener"

service_pid() { pid_in "$dir/run/$1.pid" "/$1"; }

http_addr() { echo "${HTTP_ADDR:-127.0.0.1:8000}"; }

# ADMIN_ADDR is one setting of each service; here the two need a name each.
admin_addr() {
  case $1 in
    stamp-api) echo "${API_ADMIN_ADDR:-127.0.0.1:9464}" ;;
    queue-listener) echo "${LISTENER_ADMIN_ADDR:-127.0.0.1:9465}" ;;
  esac
}

# reachable ADDR: the same with a host to connect to instead of "all interfaces".
reachable() {
  case $1 in
    0.0.0.0:*) echo "127.0.0.1:${1##*:}" ;;
    '[::]:'*) echo "[::1]:${1##*:}" ;;
    *) echo "$1" ;;
  esac
}

# want_addr NAME ADDR WHO VARIABLE: NAME is what services.env calls it.
want_addr() {
  local addr host port recorded=$1
  shift
  addr=$(reachable "$1")
  host=${addr%:*} port=${addr##*:}
  case $addr in *:*) ;; *) die "$3=$1 is no address: give HOST:PORT, as in 127.0.0.1:8000" ;; esac
  case $port in '' | *[!0-9]* | 0) die "$3=$1: the stack needs a fixed port, as in 127.0.0.1:8000" ;; esac
  host=${host#[} host=${host%]}
  # On an address that it has already, the service itself is who answers.
  grep -qxF "$recorded=http://$addr" "$dir/run/services.env" 2>/dev/null && service_pid "${2%% *}" >/dev/null ||
    want_port "$host" "$port" "$2" "$3"
}

want_service_ports() {
  want_addr API_URL "$(http_addr)" stamp-api HTTP_ADDR
  want_addr ADMIN_URL "$(admin_addr stamp-api)" "stamp-api (admin server)" API_ADMIN_ADDR
  want_addr LISTENER_ADMIN_URL "$(admin_addr queue-listener)" "queue-listener (admin server)" LISTENER_ADMIN_ADDR
}

release_folder() {
  local target=${CARGO_TARGET_DIR:-target}
  case $target in /*) ;; *) target=$root/$target ;; esac
  echo "$target/release"
}

need_binaries() {
  local service folder
  folder=$(release_folder)
  for service in $services; do
    [ -x "$folder/$service" ] || die "$folder/$service is missing: run 'make up', or 'cargo build --release --locked -p $service'"
  done
}

# runnable SERVICE: prints its binary, or a copy where the servers' user can't reach the checkout.
runnable() {
  local original copy
  original=$(release_folder)/$1
  if as_server test -x "$original"; then
    echo "$original"
    return
  fi
  copy=$dir/bin/$1
  mkdir -p "$dir/bin"
  chmod 755 "$dir/bin"
  # Moved into place: the old one may be running.
  if [ ! -f "$copy" ] || ! cmp -s "$original" "$copy"; then
    cp "$original" "$copy.new"
    chmod 755 "$copy.new"
    mv "$copy.new" "$copy"
  fi
  echo "$copy"
}

# Exports what SERVICE needs; whatever else the caller has exported reaches it as well. For subshells.
export_settings() {
  if [ "$name" != none ]; then
    DATABASE_URL=$(database_url)
    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$(kafka_port)
    export DATABASE_URL KAFKA_BOOTSTRAP_SERVERS
    unset DATABASE_URL_FILE
  fi
  ADMIN_ADDR=$(admin_addr "$1")
  HTTP_ADDR=$(http_addr)
  export ADMIN_ADDR HTTP_ADDR
  if has_no_key; then
    JWT_SECRET=$(secret jwt)
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
  binary=$(release_folder)/$1
  stat -L -c '%i %s %Y' "$binary" 2>/dev/null || stat -L -f '%i %z %m' "$binary"
  (
    export_settings "$1"
    env | LC_ALL=C sort | grep -E '^(DATABASE|KAFKA|STAMPS?|MESSAGE|TOPIC|RUST_LOG|LOG_FORMAT|HTTP_ADDR|ADMIN_ADDR|JWT|MIN_BATCH|MAX_|INSTANCE_ID|SHUTDOWN_)' | cksum
  )
}

is_current() {
  service_pid "$1" >/dev/null && [ "$(version "$1")" = "$(cat "$dir/run/$1.version" 2>/dev/null)" ]
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
    (umask 077 && service_urls >"$dir/run/services.env")
  fi
  for service in $services; do await_service "$service"; done
}

migrate() {
  local binary
  binary=$(runnable stamp-api)
  say "migrating the database…"
  (
    export_settings stamp-api
    cd "$root"
    as_server "$binary" migrate </dev/null >"$dir/log/migrate.log" 2>&1 9>&-
  ) || {
    cat "$dir/log/migrate.log" >&2
    die "'stamp-api migrate' failed; its message is above"
  }
}

start_service() {
  local binary
  binary=$(runnable "$1")
  say "starting $1…"
  (
    export_settings "$1"
    # Relative paths in settings mean the checkout.
    cd "$root"
    case $1 in
      stamp-api) start_daemon "$1" "$binary" serve ;;
      queue-listener) start_daemon "$1" "$binary" run ;;
    esac
  )
  version "$1" >"$dir/run/$1.version"
}

stop_service() {
  # A little more than the service allows itself.
  stop_daemon "$1" TERM $((${SHUTDOWN_TIMEOUT_SECS:-10} + 5)) KILL service_pid "$1"
}

await_service() {
  local reason
  wait_for 60 service_is_ready_or_dead "$1" || true
  service_pid "$1" >/dev/null || give_up "$1" "$1"
  reason=$(service_is_ready "$1") || {
    tail -n 20 "$dir/log/$1.log" >&2
    die "$1 runs, but is not ready: $reason; the end of $dir/log/$1.log is above"
  }
}

service_is_ready_or_dead() {
  service_is_ready "$1" >/dev/null || { [ -f "$dir/run/$1.pid" ] && ! service_pid "$1" >/dev/null; }
}

# service_is_ready SERVICE: prints why not.
service_is_ready() {
  local binary
  binary=$(runnable "$1")
  as_server env ADMIN_ADDR="$(admin_addr "$1")" "$binary" healthcheck 2>&1 | sed 's/^error: //'
}

# The addresses and the key, as NAME=value lines.
service_urls() {
  echo "API_URL=http://$(reachable "$(http_addr)")"
  echo "ADMIN_URL=http://$(reachable "$(admin_addr stamp-api)")"
  echo "LISTENER_ADMIN_URL=http://$(reachable "$(admin_addr queue-listener)")"
  if has_no_key; then
    echo "JWT_SECRET=$(secret jwt)"
  elif [ -n "${JWT_SECRET:-}" ]; then
    echo "JWT_SECRET=$JWT_SECRET"
  elif [ -n "${JWT_SECRET_FILE:-}" ]; then
    echo "JWT_SECRET=$(cat "$JWT_SECRET_FILE")"
  fi
  [ -z "${JWT_AUDIENCE:-}" ] || echo "JWT_AUDIENCE=$JWT_AUDIENCE"
  [ -z "${JWT_ISSUER:-}" ] || echo "JWT_ISSUER=$JWT_ISSUER"
}

services_run() { [ -f "$dir/run/services.env" ] && { service_pid stamp-api || service_pid queue-listener; } >/dev/null; }

# The same of running services, whatever the environment says now.
running_service_urls() { if services_run; then cat "$dir/run/services.env"; else service_urls; fi; }

adopt_running_addresses() {
  local key value
  services_run || return 0
  while IFS='=' read -r key value; do
    case $key in
      API_URL) HTTP_ADDR=${value#http://} ;;
      ADMIN_URL) API_ADMIN_ADDR=${value#http://} ;;
      LISTENER_ADMIN_URL) LISTENER_ADMIN_ADDR=${value#http://} ;;
    esac
  done <"$dir/run/services.env"
}

# print_token ARGS…: a token that the running stamp-api accepts.
print_token() {
  local binary line
  binary=$(runnable stamp-api)
  unset JWT_SECRET JWT_SECRET_FILE JWT_PUBLIC_KEY JWT_PUBLIC_KEY_FILE JWT_AUDIENCE JWT_ISSUER STAMPS_REQUIRE_AUTH
  while read -r line; do
    case $line in JWT_*) export "${line?}" ;; esac
  done < <(running_service_urls)
  [ -n "${JWT_SECRET:-}" ] || die "stamp-api checks tokens with JWT_PUBLIC_KEY: whoever has the private key signs them, or 'make up' with a JWT_SECRET instead"
  exec "${as_user[@]}" "$binary" token "$@" 9>&-
}

# One more replica in the foreground, on a free admin port; Ctrl-C is its own.
run_listener() {
  local binary
  binary=$(runnable queue-listener)
  export_settings queue-listener
  export ADMIN_ADDR=127.0.0.1:0
  # A second instance needs a name of its own: its host and process id.
  unset INSTANCE_ID
  cd "$root"
  exec "${as_user[@]}" "$binary" run 9>&-
}
