# shellcheck shell=bash
# One PostgreSQL, with its data in $dir/postgres/data: the machine's own binaries, or some by Maven.

postgres_pid() { pid_in "$dir/postgres/data/postmaster.pid" "$dir/postgres/data"; }

# The port of the running server (line 4 of its pid file), else the one it would get.
postgres_port() {
  if postgres_pid >/dev/null; then
    sed -n 4p "$dir/postgres/data/postmaster.pid"
  elif [ "$name" = test ]; then
    echo "${STACK_TEST_POSTGRES_PORT:-25432}"
  else
    echo "${STACK_POSTGRES_PORT:-15432}"
  fi
}

want_postgres_port() {
  local prefix=STACK_
  [ "$name" != test ] || prefix=STACK_TEST_
  want_port 127.0.0.1 "$(postgres_port)" "PostgreSQL of the $name stack" "${prefix}POSTGRES_PORT"
}

database_url() { echo "postgres://stamp:$(secret postgres)@127.0.0.1:$(postgres_port)/stamp"; }

# Sets `postgres_bin`. Data stay with the major version that made them.
need_postgres() {
  local wanted='' candidate version best=0 asked=${STACK_POSTGRES_BIN:-}
  postgres_bin=
  [ ! -f "$dir/postgres/data/PG_VERSION" ] || read -r wanted <"$dir/postgres/data/PG_VERSION"
  if [ "$asked" != maven ]; then
    while read -r candidate; do
      version=$(postgres_version "$candidate")
      [ -n "$asked" ] || [ -z "$wanted" ] || [ "$version" = "$wanted" ] || continue
      if [ "$version" -ge 14 ] && [ "$version" -gt "$best" ]; then
        best=$version
        postgres_bin=$candidate
      fi
    done < <(postgres_candidates)
    [ -z "$asked" ] || [ -n "$postgres_bin" ] || die "STACK_POSTGRES_BIN=$asked holds no PostgreSQL 14 or newer that '${server_user:-$(id -un)}' can run: give the folder of initdb, postgres and pg_ctl, or 'maven' to fetch one"
  fi
  if [ -z "$postgres_bin" ]; then
    [ -z "$wanted" ] || [ "$wanted" = "$(version_of postgres | cut -d. -f1)" ] ||
      die "the data of the $name stack were made by PostgreSQL $wanted, which is not installed any more: install it, set STACK_POSTGRES_BIN to its bin folder, or delete the data (stack down --volumes $name)"
    fetch_postgres
    postgres_bin=$(fetched_postgres_bin)
    best=$(postgres_version "$postgres_bin")
    [ "$best" -ge 14 ] || die "the PostgreSQL in $postgres_bin does not run on this machine: install PostgreSQL 14 or newer"
  fi
  [ -z "$wanted" ] || [ "$best" = "$wanted" ] ||
    die "the data of the $name stack were made by PostgreSQL $wanted, and $postgres_bin is version $best: set STACK_POSTGRES_BIN to the bin folder of a PostgreSQL $wanted, or delete the data (stack down --volumes $name)"
}

# Folders that may hold PostgreSQL, one a line.
postgres_candidates() {
  if [ -n "${STACK_POSTGRES_BIN:-}" ]; then
    echo "$STACK_POSTGRES_BIN"
    return
  fi
  local folder
  if has pg_config; then pg_config --bindir 2>/dev/null || true; fi
  if has initdb; then dirname "$(command -v initdb)"; fi
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
    [ ! -d "$folder" ] || echo "$folder"
  done
}

# postgres_version BIN: its major version, 0 if it is not complete or the servers' user can't run it.
postgres_version() {
  local version=
  if [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ]; then
    version=$(as_server "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p') || true
  fi
  echo "${version:-0}"
}

# The cluster is made beside its place and moved there, so an interrupted first start leaves none.
make_cluster() {
  local new=$dir/postgres/new
  [ ! -f "$dir/postgres/data/PG_VERSION" ] || return 0
  say "creating the database cluster (PostgreSQL $(postgres_version "$postgres_bin"))…"
  rm -rf "$new"
  rotate_log initdb
  secret postgres-superuser >/dev/null
  as_server "$postgres_bin/initdb" -D "$new" -U postgres --auth=scram-sha-256 --encoding=UTF8 --locale=C \
    --pwfile="$dir/secrets/postgres-superuser" >"$dir/log/initdb.log" 2>&1 || give_up "the database cluster" initdb
  # Single-user mode needs no psql, which the fetched binaries lack, and keeps the password off every command line.
  as_server "$postgres_bin/postgres" --single -D "$new" postgres >>"$dir/log/initdb.log" 2>&1 <<SQL || give_up "the database cluster" initdb
CREATE ROLE stamp LOGIN CREATEDB PASSWORD '$(secret postgres)'
CREATE DATABASE stamp OWNER stamp
SQL
  mv "$new" "$dir/postgres/data"
}

# Without a socket file: its path could be longer than the system allows.
start_postgres() {
  local data=$dir/postgres/data port connections=200 tries=0 rest
  [ "$name" != test ] || connections=400
  port=$(postgres_port)
  make_cluster
  # After a kill -9 or a restart of the machine the pid in that file may be a zombie's or another program's, and
  # PostgreSQL would refuse to start. A number that no process can have leaves it the other check, which the rest
  # of the file is for: that no process of the old server is alive.
  if [ -s "$data/postmaster.pid" ]; then
    rest=$(sed 1d "$data/postmaster.pid")
    printf '4194305\n%s\n' "$rest" >"$data/postmaster.pid"
  fi
  say "starting PostgreSQL on 127.0.0.1:$port…"
  rotate_log postgres
  until run_pg_ctl start -s -w -t 120 -D "$data" -l "$dir/log/postgres.log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=$connections"; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] && tail -n 20 "$dir/log/postgres.log" | grep -q 'shared memory block' || give_up PostgreSQL postgres
    sleep 0.5
  done
}

run_pg_ctl() {
  (
    exec </dev/null >>"$dir/log/pg_ctl.log" 2>&1
    close_inherited
    exec "${as_user[@]}" "$postgres_bin/pg_ctl" "$@"
  )
}

postgres_is_up() { postgres_pid >/dev/null && answers 127.0.0.1 "$(postgres_port)"; }

# INT is PostgreSQL's fast shutdown (pg_ctl stop -m fast), QUIT its immediate one, which recovers at the next start.
stop_postgres() { stop_daemon "PostgreSQL of the $name stack" INT 60 QUIT postgres_pid; }
