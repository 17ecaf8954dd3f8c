# shellcheck shell=bash
# What the programs of this folder share: messages, places, the user of the daemons, the lock, pid files, ports.
# Works with bash 3.2, which macOS still ships.

root=$(cd "$here/../.." && pwd -P)

# Progress goes to stderr: stdout belongs to whoever reads `stack env`.
say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
not() { ! "$@" >/dev/null; }

# wait_for SECONDS CONDITION…: asks for CONDITION until it is true; 1 when the time is over.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -le "$end" ] || return 1
    sleep 0.1
  done
}

# --- Places ----------------------------------------------------------------------------------------------

# Sets `name` (main, test or none), `base` (where stacks and downloads live), `dir` (this stack's own folder),
# `server_user` (empty, or whom root hands the daemons to) and `as_user` (the words before a daemon's command).
use_stack() {
  local elsewhere
  name=$1
  server_user=
  [ "$(id -u)" != 0 ] || server_user=$(unprivileged_user)
  base=$root/.stack
  if [ -f "$base/location" ]; then
    read -r elsewhere <"$base/location" || true
    # A temporary folder that vanished must not be handed to us by somebody else under the same name.
    [ ! -L "$elsewhere" ] || die "$elsewhere, where the stacks are kept, is a link: remove $base/location to start afresh"
    if [ ! -d "$elsewhere" ]; then
      say "note: $elsewhere, where the stacks were kept, is gone; starting afresh"
      rm -f "$base/location"
    elif [ -O "$elsewhere" ]; then
      base=$elsewhere
    else
      die "$elsewhere, where the stacks are kept, does not belong to '$(id -un)': run this as its owner, or remove $base/location to start afresh"
    fi
  fi
  dir=$base/$name
  as_user=(env)
  [ -n "$server_user" ] || return 0
  if setpriv --help 2>&1 | grep -q -- --reuid; then
    as_user=(setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups --)
  elif has runuser; then
    as_user=(runuser -u "$server_user" --)
  else
    die "needs setpriv or runuser (util-linux) to start the servers as '$server_user': PostgreSQL refuses to run as root; install it, or run this as an ordinary user"
  fi
  as_user+=(env HOME="$dir/tmp" TMPDIR="$dir/tmp")
}

# The owner of the checkout if that is an ordinary user that this machine knows, else nobody.
unprivileged_user() {
  local uid
  uid=$(owner -n "$root")
  if [ "$uid" != 0 ] && id -un "$uid" 2>/dev/null; then return; fi
  echo nobody
}

# owner [-n] FILE: who owns it; with -n the number.
owner() {
  # shellcheck disable=SC2012 # `stat` takes other options on macOS, and the owner stands before any name.
  ls -ld "$@" | awk '{print $3}'
}

# Makes this stack's folders; in a temporary folder where the servers' user can't reach the checkout.
make_places() {
  local parent sub
  chmod 755 "$root/.stack"
  if [ -n "$server_user" ] && ! as_server test -x "$base"; then
    # Rather /var/tmp than /tmp: it outlives a restart of the machine.
    parent=${STACK_TMPDIR:-/var/tmp}
    [ -w "$parent" ] || parent=${TMPDIR:-/tmp}
    base=$(mktemp -d "$parent/stamp-stack.XXXXXX")
    chmod 755 "$base"
    printf '%s\n' "$base" >"$root/.stack/location"
    use_stack "$name"
    say "the servers' user '$server_user' can't reach $root: data and logs are in $base"
  fi
  mkdir -p "$base/cache"
  chmod 755 "$base/cache"
  if [ ! -d "$dir" ]; then
    mkdir "$dir"
    chmod 700 "$dir"
    [ -z "$server_user" ] || chown "$server_user" "$dir"
  fi
  for sub in log run secrets tmp kafka postgres; do
    { as_server mkdir -p -m 700 "$dir/$sub" && as_server test -w "$dir/$sub"; } ||
      die "${server_user:-$(id -un)}, who runs the servers, can't write to $dir/$sub: see whether it is a link, and whose it is"
  done
}

# One command at a time in a checkout; two `cargo test` may ask for the test stack at once.
lock() {
  local place=$root/.stack
  mkdir -p "$place" 2>/dev/null || true
  if [ ! -w "$place" ]; then
    [ -e "$place" ] || place=$root
    die "can't write to $place, which belongs to '$(owner "$place")': run this as that user"
  fi
  exec 9>"$place/lock"
  lock_opened -n && return
  say "waiting for another stack command in this checkout…"
  lock_opened || die "can't lock $place/lock"
}

# lock_opened [-n]: the lock of file 9, which ends with whoever has it open; with -n only if it is free.
lock_opened() {
  if has flock; then
    flock "$@" 9
  else
    # macOS has perl instead. LOCK_EX is 2, LOCK_NB is 4.
    perl -e 'open(my $file, ">&=9") or die; exit !flock($file, 2 | 4 * @ARGV)' -- "$@"
  fi
}

# --- What the servers' user owns -------------------------------------------------------------------------
# Root's own processes neither read nor write below $dir: a link there would lead them to a file of somebody else.

as_server() { "${as_user[@]}" "$@"; }

# keep FILE: what comes in, whole or not at all.
# shellcheck disable=SC2016 # The inner shell expands these.
keep() { as_server sh -c 'umask 077; rm -f "$0.new"; cat >"$0.new" && mv -f "$0.new" "$0"' "$1"; }

# logged WHAT COMMAND…: its output goes to the end of log/WHAT.log.
logged() {
  local log=$dir/log/$1.log
  shift
  # shellcheck disable=SC2016 # The inner shell expands these.
  as_server sh -c 'exec "$@" >>"$0" 2>&1' "$log" "$@"
}

# The log of the run before is kept as WHAT.log.1.
rotate_log() {
  # shellcheck disable=SC2016 # The inner shell expands these.
  as_server sh -c 'rm -f "$0.1"; [ ! -e "$0" ] && [ ! -L "$0" ] || mv "$0" "$0.1"' "$dir/log/$1.log"
}

# secret NAME: prints it; made once, kept with the stack's data, readable by the servers' user only.
secret() {
  local file=$dir/secrets/$1 value
  as_server test -s "$file" || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | keep "$file"
  value=$(as_server cat "$file") || die "$file can't be read by ${server_user:-$(id -un)}, who runs the servers"
  # It goes into NAME=value lines, which must not get a second name by it.
  case $value in *[[:space:]]*) die "$file is no secret that this has made: it has more than one word" ;; esac
  echo "$value"
}

# --- Daemons ---------------------------------------------------------------------------------------------

# start_daemon WHAT COMMAND…: away from the terminal, output to log/WHAT.log, pid in run/WHAT.pid.
start_daemon() {
  local what=$1 detach=setsid
  shift
  rotate_log "$what"
  as_server rm -f "$dir/run/$what.pid"
  (
    exec </dev/null >/dev/null 2>&1
    close_inherited
    # Without setsid (macOS): a process group of its own keeps Ctrl-C away, nohup the end of the terminal.
    has setsid || { set -m && detach="nohup"; }
    # The pid is written from inside, whatever forks on the way there. Kafka holds many files open.
    # shellcheck disable=SC2016 # The inner shell expands these.
    "${as_user[@]}" "$detach" sh -c '
      ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
      echo $$ >"$0" || exit
      exec >>"$1" 2>&1
      shift
      exec "$@"' "$dir/run/$what.pid" "$dir/log/$what.log" "$@" &
  )
}

# Neither the lock nor a caller's pipes (make's job server) may live on in a daemon. For subshells.
close_inherited() {
  local fd
  for fd in /dev/fd/*; do
    fd=${fd##*/}
    # bash keeps the script itself on 255 and closes that by itself.
    case $fd in 0 | 1 | 2 | 255 | *[!0-9]*) ;; *) eval "exec $fd>&-" ;; esac
  done
}

# pid_in FILE MARK: prints the pid in FILE's first line if that process has MARK in its command line; after a
# crash or a restart of the machine the number may be anybody's.
pid_in() {
  local pid=
  pid=$(as_server sed 1q "$1" 2>/dev/null) || true
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  [[ $(command_line "$pid") == *"$2"* ]] && echo "$pid"
}

command_line() {
  if [ -d /proc/self ]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -o args= -p "$1"
  fi 2>/dev/null || true
}

# await WHAT SECONDS READY PID: waits for what start_daemon has started until `READY WHAT` is true, which may print
# why it is not. Gives up when the time is over, or when `PID WHAT` prints no pid any more.
await() {
  local reason
  wait_for "$2" ready_or_dead "$@" || true
  "$4" "$1" >/dev/null || give_up "$1" "$1 did not start"
  reason=$("$3" "$1") || give_up "$1" "$1 runs, but is not ready: ${reason:-no answer}"
}

ready_or_dead() { "$3" "$1" >/dev/null || { as_server test -f "$dir/run/$1.pid" && not "$4" "$1"; }; }

# stop_daemon LABEL SIGNAL SECONDS LAST_SIGNAL RUNNING…: RUNNING prints the pid while it runs. The signal is
# sent as the daemons' user, so a wrong pid can hurt nobody else.
stop_daemon() {
  local label=$1 signal=$2 seconds=$3 last_signal=$4 pid
  shift 4
  pid=$("$@") || return 0
  say "stopping $label…"
  as_server kill -s "$signal" "$pid" 2>/dev/null || true
  wait_for "$seconds" not "$@" && return
  say "$label did not stop within $seconds s: sending $last_signal"
  as_server kill -s "$last_signal" "$pid" 2>/dev/null || true
  wait_for 10 not "$@" || die "$label (pid $pid) can't be stopped; see $dir/log"
}

# give_up WHAT MESSAGE: ends with the tail of WHAT's log, which is where the reason is.
give_up() {
  as_server tail -n 20 "$dir/log/$1.log" >&2 2>/dev/null || true
  die "$2; the end of $dir/log/$1.log is above"
}

# --- Ports -----------------------------------------------------------------------------------------------

# port_variable WHAT: the name of the variable that sets this stack's port of WHAT.
port_variable() { if [ "$name" = test ]; then echo "STACK_TEST_$1_PORT"; else echo "STACK_$1_PORT"; fi; }

# own_port WHAT DEFAULT: the port that WHAT gets. The test stack's defaults are 10000 above the others.
own_port() {
  local variable default=$2
  variable=$(port_variable "$1")
  [ "$name" != test ] || default=$((default + 10000))
  echo "${!variable:-$default}"
}

answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# want_port HOST PORT WHO VARIABLE: dies if somebody else is on it.
want_port() {
  ! answers "$1" "$2" || die "port $2 is taken by another program, and $3 wants it: stop that program, or set $4 to a free port"
}
