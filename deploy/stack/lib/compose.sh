# shellcheck shell=bash
# The Compose way of what `stack` does for the embedded one. Services of docker-compose.yml: postgres, kafka,
# stamp-api, queue-listener.

# Whether a Docker engine answers; one that is wedged must not hang `make`.
docker_answers() {
  local pid
  has docker || return 1
  docker info >/dev/null 2>&1 &
  pid=$!
  wait_for 5 not kill -0 "$pid" 2>/dev/null || { kill "$pid" && return 1; }
  wait "$pid" && docker compose version >/dev/null 2>&1
}

compose() { docker compose -f "$root/docker-compose.yml" "$@"; }

compose_up() {
  local since
  since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  compose up -d --build --wait && return
  # Compose says what failed; if that was a container, the reason is in its log.
  compose ps --all --format 'table {{.Service}}\t{{.Status}}' >&2 || true
  compose logs --no-color --since "$since" --tail 5 migrate stamp-api queue-listener >&2 || true
  die "the Compose stack did not start: see Docker's message above, and 'make logs' for the rest of the logs"
}

# Its admin address is a free port of this machine, as every replica's is.
compose_listener() {
  local container code=0 waiting
  if [ -t 0 ] && [ -t 1 ]; then
    compose run --rm --service-ports queue-listener
    return
  fi
  # Without a terminal `compose run` would end at a signal and leave the container behind.
  container=$(compose run -d --service-ports queue-listener)
  trap 'docker stop "$container" >/dev/null' INT TERM
  docker logs --follow "$container" &
  (exit "$(docker wait "$container")") &
  waiting=$!
  wait "$waiting" || code=$?
  # A signal ends the first wait, and the trap has stopped the container by now.
  if kill -0 "$waiting" 2>/dev/null; then code=0; wait "$waiting" || code=$?; fi
  wait
  docker rm -f "$container" >/dev/null
  return "$code"
}

# secret_in SERVICE NAME: what the container of SERVICE has as NAME or in the file that NAME_FILE names.
secret_in() {
  # shellcheck disable=SC2016 # The container's shell expands these.
  compose exec -T "$1" sh -c 'value=$(printenv "$1") && [ -n "$value" ] && echo "$value" || cat "$(printenv "$1_FILE")"' sh "$2" 2>/dev/null
}

# published NAME SERVICE PORT: NAME=http://… of a published port, or nothing.
published() {
  local address
  address=$(compose port "$2" "$3" 2>/dev/null) && [ -n "$address" ] || return 0
  echo "$1=http://${address/#0.0.0.0:/127.0.0.1:}"
}

compose_env() {
  local user password database key
  user=$(compose exec -T postgres printenv POSTGRES_USER) || die "the Compose stack is not running: start it with 'make up'"
  password=$(secret_in postgres POSTGRES_PASSWORD) || die "the password of the Compose stack's PostgreSQL can't be read"
  database=$(compose exec -T postgres printenv POSTGRES_DB || echo "$user")
  echo "DATABASE_URL=postgres://$user:$password@$(compose port postgres 5432)/$database"
  echo "KAFKA_BOOTSTRAP_SERVERS=$(compose port kafka 19092)"
  published API_URL stamp-api 8000
  published ADMIN_URL stamp-api 9464
  published LISTENER_ADMIN_URL queue-listener 9465
  if key=$(secret_in stamp-api JWT_SECRET); then echo "JWT_SECRET=$key"; fi
}
