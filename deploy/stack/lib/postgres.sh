# shellcheck shell=bash
# One PostgreSQL, with its data in $dir/postgres/data: the machine's own binaries, or some by Maven.

postgres_pid() { pid_in "$dir/postgres/data/postmaster.pid" "$dir/postgres/data"; }

# The port of the running server (line 4 of its pid file), else the one it would get.
postgres_port() {
  if postgres_pid >/dev/null; then as_server sed -n '4s/^\([0-9]*\)$/\1/p' "$dir/postgres/data/postmaster.pid"; else own_port POSTGRES 15432; fi
}

database_url() {
  local password
  password=$(secret postgres) || exit
  echo "postgres://stamp:$password@127.0.0.1:$(postgres_port)/stamp"
}

# Tests make roles, which the role of the services may not.
database_admin_env() {
  local password
  [ "$name" = test ] || return 0
  password=$(secret postgres-superuser) || exit
  echo "DATABASE_ADMIN_URL=postgres://postgres:$password@127.0.0.1:$(postgres_port)/postgres"
}

# Ends unless PostgreSQL can be started.
prepare_postgres() {
  want_port 127.0.0.1 "$(postgres_port)" "PostgreSQL of the $name stack" "$(port_variable POSTGRES)"
  need_postgres
  secret postgres >/dev/null
  secret postgres-superuser >/dev/null
}

# Sets `postgres_bin`. Data stay with the major version that made them.
need_postgres() {
  local asked=${STACK_POSTGRES_BIN:-} wanted='' fetchable='' candidate version best=0
  postgres_bin=
  wanted=$(as_server sed -n '1s/^\([0-9]*\)$/\1/p' "$dir/postgres/data/PG_VERSION" 2>/dev/null) || true
  while read -r candidate; do
    version=$(postgres_version "$candidate")
    if [ "$version" -gt "$best" ] && [ "$version" = "${wanted:-$version}" ]; then
      best=$version
      postgres_bin=$candidate
    fi
  done < <(if [ -n "$asked" ]; then echo "$asked"; else postgres_candidates; fi)
  [ -z "$postgres_bin" ] || return 0
  case $asked in
    '' | maven) fetchable=$(version_of postgres | cut -d . -f 1) ;;
    *) [ "$(postgres_version "$asked")" != 0 ] || die "STACK_POSTGRES_BIN=$asked holds no PostgreSQL 14 or newer that '${server_user:-$(id -un)}' can run: give the folder of initdb, postgres and pg_ctl, or 'maven' to fetch one" ;;
  esac
  [ "${wanted:-$fetchable}" = "$fetchable" ] || die "the data of the $name stack were made by PostgreSQL $wanted, which was not found${asked:+ in $asked}: install it, set STACK_POSTGRES_BIN to its bin folder, or delete the data (stack down --volumes $name)"
  fetch_postgres
  postgres_bin=$(fetched_postgres)/bin
  [ "$(postgres_version "$postgres_bin")" != 0 ] || die "the PostgreSQL in $postgres_bin does not run on this machine: install PostgreSQL 14 or newer"
}

# Folders of this machine that may hold PostgreSQL, one a line.
postgres_candidates() {
  local folder
  if has pg_config; then pg_config --bindir 2>/dev/null || true; fi
  if has initdb; then dirname "$(command -v initdb)"; fi
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
    [ ! -d "$folder" ] || echo "$folder"
  done
}

# postgres_version BIN: its major version, 0 if that is below 14, if it is not complete, or if the servers' user
# can't run it.
postgres_version() {
  local version=
  if [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ]; then
    version=$(as_server "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p') || true
  fi
  if [ "${version:-0}" -ge 14 ]; then echo "$version"; else echo 0; fi
}

# The cluster is made beside its place and moved there, so an interrupted first start leaves none.
make_cluster() {
  local new=$dir/postgres/new
  ! as_server test -f "$dir/postgres/data/PG_VERSION" || return 0
  say "creating the database cluster (PostgreSQL $(postgres_version "$postgres_bin"))…"
  as_server rm -rf "$new"
  rotate_log initdb
  # Single-user mode needs no psql, which the fetched binaries lack, and keeps the password off every command line.
  {
    logged initdb "$postgres_bin/initdb" -D "$new" -U postgres --auth=scram-sha-256 --encoding=UTF8 --locale=C \
      --pwfile="$dir/secrets/postgres-superuser" &&
      logged initdb "$postgres_bin/postgres" --single -D "$new" postgres <<SQL
CREATE ROLE stamp LOGIN CREATEDB PASSWORD '$(secret postgres)'
CREATE DATABASE stamp OWNER stamp
SQL
  } || give_up initdb "the database cluster could not be made"
  as_server mv "$new" "$dir/postgres/data"
}

# Without a socket file: its path could be longer than the system allows.
start_postgres() {
  local data=$dir/postgres/data port connections=200 tries=0
  [ "$name" != test ] || connections=400
  port=$(postgres_port)
  make_cluster
  # After a kill -9 or a restart of the machine the pid in that file may be a zombie's or another program's, and
  # PostgreSQL would refuse to start. A number that no process can have leaves it the other check, which the rest
  # of the file is for: that no process of the old server is alive.
  # shellcheck disable=SC2016 # The inner shell expands these.
  as_server sh -c '[ ! -s "$0" ] || { rest=$(sed 1d "$0") && printf "4194305\n%s\n" "$rest" >"$0"; }' "$data/postmaster.pid"
  say "starting PostgreSQL on 127.0.0.1:$port…"
  rotate_log postgres
  rotate_log pg_ctl
  until run_pg_ctl start -s -w -t 120 -D "$data" -l "$dir/log/postgres.log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=$connections"; do
    # Processes of an old server may take a moment to end.
    as_server tail -n 20 "$dir/log/postgres.log" | grep -q 'shared memory block' || tries=20
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || give_up postgres "PostgreSQL did not start"
    sleep 0.5
  done
}

run_pg_ctl() {
  (
    exec </dev/null
    close_inherited
    logged pg_ctl "$postgres_bin/pg_ctl" "$@"
  )
}

await_postgres() { wait_for 60 postgres_is_up || give_up postgres "PostgreSQL did not start"; }

postgres_is_up() { postgres_pid >/dev/null && answers 127.0.0.1 "$(postgres_port)"; }

# INT is PostgreSQL's fast shutdown (pg_ctl stop -m fast), QUIT its immediate one, which recovers at the next start.
stop_postgres() { stop_daemon "PostgreSQL of the $name stack" INT 60 QUIT postgres_pid; }
