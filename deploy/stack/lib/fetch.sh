# shellcheck shell=bash
# Downloads, by Maven and as the calling user, into $base/cache. A folder there is complete or absent.

version_of() { sed -n "s:.*<$1.version>\(.*\)</$1.version>.*:\1:p" "$here/pom.xml"; }

need_maven() {
  has mvn || die "needs Maven (mvn) to fetch $1: install it (Debian: apt-get install maven; macOS: brew install maven)"
}

# maven WHAT ARGS…: its output matters only when it fails.
maven() {
  local what=$1 log=$base/cache/maven.log
  shift
  # -C: a wrong checksum is an error.
  mvn -B -q -C -f "$here/pom.xml" "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    die "Maven could not fetch $what; its message is above (a proxy or a mirror belongs in ~/.m2/settings.xml)"
  }
}

# Sets `jars`, the folder of Kafka's jars.
fetch_kafka() {
  local version
  version=$(version_of kafka)
  jars=$base/cache/kafka-$version
  [ ! -d "$jars" ] || return 0
  need_maven "Apache Kafka $version"
  say "fetching Apache Kafka $version by Maven (93 jars, 54 MB)…"
  rm -rf "$jars.new"
  maven "Apache Kafka $version" dependency:copy-dependencies -Doutput="$jars.new" -DoutputDirectory="$jars.new" \
    -DincludeScope=runtime
  chmod -R a+rX "$jars.new"
  mv "$jars.new" "$jars"
}

fetched_postgres_bin() { echo "$base/cache/postgres-$(version_of postgres)/bin"; }

fetch_postgres() {
  local version place platform archive
  version=$(version_of postgres)
  place=$base/cache/postgres-$version
  [ ! -d "$place" ] || return 0
  platform=$(postgres_platform)
  need_maven "PostgreSQL $version, as none of 14 or newer was found"
  has xz || [ "$(uname -s)" = Darwin ] || die "needs xz to unpack PostgreSQL: install it (Debian: apt-get install xz-utils), or install PostgreSQL 14 or newer itself"
  say "fetching PostgreSQL $version for $platform by Maven…"
  rm -rf "$place.new" "$place.jar"
  maven "PostgreSQL $version for $platform" dependency:unpack \
    -Doutput="$place.jar" -DoutputDirectory="$place.jar" \
    -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-$platform:$version:jar"
  mkdir "$place.new"
  for archive in "$place.jar"/*.txz; do tar -xJf "$archive" -C "$place.new"; done
  rm -rf "$place.jar"
  chmod -R a+rX "$place.new"
  mv "$place.new" "$place"
}

# The platform as the artifacts name it.
postgres_platform() {
  local os arch libc=
  case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) die "there are no PostgreSQL binaries for $(uname -s): install PostgreSQL 14 or newer and set STACK_POSTGRES_BIN to its bin folder" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64v8 ;;
    *) arch=$(uname -m) ;;
  esac
  if [ "$os" = linux ] && ldd --version 2>&1 | grep -qi musl; then libc=-alpine; fi
  echo "$os-$arch$libc"
}
