# shellcheck shell=bash
# Downloads by Maven, as the calling user. A folder that was fetched is complete or absent.

version_of() { sed -n "s:.*<$1.version>\(.*\)</$1.version>.*:\1:p" "$here/pom.xml"; }

# fetch WHAT FOLDER GOAL…: what GOAL of Maven's dependency plugin copies or unpacks. Maven's output matters only
# when it fails.
fetch() {
  local what=$1 folder=$2 log=${2%/*}/maven.log
  shift 2
  has mvn || die "needs Maven (mvn) to fetch $what: install it (Debian: apt-get install maven; macOS: brew install maven)"
  say "fetching $what by Maven…"
  rm -rf "$folder.new"
  # -C: a wrong checksum is an error.
  mvn -B -q -C -f "$here/pom.xml" "$@" -Doutput="$folder.new" -DoutputDirectory="$folder.new" >"$log" 2>&1 || {
    cat "$log" >&2
    die "Maven could not fetch $what; its message is above (a proxy or a mirror belongs in ~/.m2/settings.xml)"
  }
  chmod -R a+rX "$folder.new"
  mv "$folder.new" "$folder"
}

# Sets `jars`, the folder of Kafka's jars.
fetch_kafka() {
  local version
  version=$(version_of kafka)
  jars=$base/cache/kafka-$version
  [ -d "$jars" ] || fetch "Apache Kafka $version (93 jars, 54 MB)" "$jars" \
    dependency:copy-dependencies -DincludeScope=runtime
}

fetched_postgres() { echo "$base/cache/postgres-$(version_of postgres)"; }

fetch_postgres() {
  local version folder platform archive
  version=$(version_of postgres)
  folder=$(fetched_postgres)
  [ ! -d "$folder" ] || return 0
  [ -n "${STACK_POSTGRES_BIN:-}" ] || say "this machine has no PostgreSQL of its own that would do"
  platform=$(postgres_platform)
  has xz || [ "$(uname -s)" = Darwin ] || die "needs xz to unpack PostgreSQL: install it (Debian: apt-get install xz-utils), or install PostgreSQL 14 or newer itself"
  rm -rf "$folder.jar" "$folder.new"
  fetch "PostgreSQL $version for $platform" "$folder.jar" \
    dependency:unpack -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-$platform:$version:jar"
  mkdir "$folder.new"
  for archive in "$folder.jar"/*.txz; do tar -xJf "$archive" -C "$folder.new"; done
  rm -rf "$folder.jar"
  chmod -R a+rX "$folder.new"
  mv "$folder.new" "$folder"
}

# The platform as the artifacts name it.
postgres_platform() {
  local libc=
  if [ "$(uname -s)" = Linux ] && ldd --version 2>&1 | grep -qi musl; then libc=-alpine; fi
  case $(uname -sm) in
    'Linux x86_64') echo "linux-amd64$libc" ;;
    'Linux aarch64') echo "linux-arm64v8$libc" ;;
    'Linux ppc64le') echo "linux-ppc64le$libc" ;;
    'Darwin x86_64') echo darwin-amd64 ;;
    'Darwin arm64') echo darwin-arm64v8 ;;
    *) die "there are no PostgreSQL binaries for $(uname -sm): install PostgreSQL 14 or newer and set STACK_POSTGRES_BIN to its bin folder" ;;
  esac
}
