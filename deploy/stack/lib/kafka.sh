# shellcheck shell=bash
# One Kafka node that is broker and controller (KRaft), with its data in $dir/kafka.

kafka_pid() { pid_in "$dir/run/kafka.pid" "$dir/kafka/server.properties"; }

# The port of the running broker, else the one it would get.
kafka_port() {
  if kafka_pid >/dev/null; then
    sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:\([0-9]*\).*|\1|p' "$dir/kafka/server.properties"
  elif [ "$name" = test ]; then
    echo "${STACK_TEST_KAFKA_PORT:-29092}"
  else
    echo "${STACK_KAFKA_PORT:-19092}"
  fi
}

controller_port() {
  if [ "$name" = test ]; then echo "${STACK_TEST_CONTROLLER_PORT:-29093}"; else echo "${STACK_CONTROLLER_PORT:-19093}"; fi
}

# The test stack's broker has a second way in, whose clients are led through a port where a test may run a proxy
# and cut them off: it listens on the broker's port + 2 and says that it is on + 3.
proxied_port() { echo $(($(kafka_port) + 2)); }
proxy_port() { echo $(($(kafka_port) + 3)); }

# Both as NAME=value lines. Nothing for a broker that was started without.
kafka_proxy_env() {
  grep -q '^listeners=.*,PROXIED:' "$dir/kafka/server.properties" || return 0
  echo "KAFKA_PROXIED_LISTENER=127.0.0.1:$(proxied_port)"
  echo "KAFKA_PROXY_ADDRESS=127.0.0.1:$(proxy_port)"
}

want_kafka_ports() {
  local prefix=STACK_
  [ "$name" != test ] || prefix=STACK_TEST_
  want_port 127.0.0.1 "$(kafka_port)" "Kafka of the $name stack" "${prefix}KAFKA_PORT"
  want_port 127.0.0.1 "$(controller_port)" "Kafka's controller of the $name stack" "${prefix}CONTROLLER_PORT"
  [ "$name" != test ] || want_port 127.0.0.1 "$(proxied_port)" "Kafka of the $name stack (its port + 2)" "${prefix}KAFKA_PORT"
}

# Sets `java`.
need_java() {
  local version
  java=${JAVA_HOME:+$JAVA_HOME/bin/}java
  version=$(as_server "$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
  [ -n "$version" ] || die "needs a JDK (17 or newer) for Kafka, and '$java' does not run: install one (Debian: apt-get install default-jdk-headless), or set JAVA_HOME"
  [ "$version" -ge 17 ] || die "needs a JDK (17 or newer) for Kafka, and '$java' is version $version: install a newer one, or set JAVA_HOME to it"
}

run_java() {
  as_server "$java" -Dorg.slf4j.simpleLogger.showDateTime=true \
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX" -cp "$jars/*" "$@"
}

# Starts it and returns at once: await_kafka waits.
start_kafka() {
  local heap="-Xms256m -Xmx1g"
  [ "$name" != test ] || heap="-Xms256m -Xmx512m"
  say "starting Kafka on 127.0.0.1:$(kafka_port)…"
  write_kafka_properties
  # meta.properties is written last: without it a first start was interrupted.
  if [ ! -f "$dir/kafka/data/meta.properties" ]; then
    rm -rf "$dir/kafka/data"
    rotate_log kafka-format
    run_java kafka.tools.StorageTool format --cluster-id "$(cluster_id)" --config "$dir/kafka/server.properties" \
      >"$dir/log/kafka-format.log" 2>&1 || give_up "formatting Kafka's storage" kafka-format
  fi
  # shellcheck disable=SC2086
  start_daemon kafka "$java" ${STACK_KAFKA_HEAP:-$heap} -Dorg.slf4j.simpleLogger.showDateTime=true \
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX" \
    -cp "$jars/*" kafka.Kafka "$dir/kafka/server.properties"
}

# Kafka's form of a uuid: 16 bytes in 22 characters of URL-safe base64, not starting with a dash.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22; }

await_kafka() {
  wait_for 120 kafka_is_up_or_dead
  kafka_is_up || give_up Kafka kafka
}

kafka_is_up() {
  kafka_pid >/dev/null && grep -q 'Kafka Server started' "$dir/log/kafka.log" && answers 127.0.0.1 "$(kafka_port)"
}

kafka_is_up_or_dead() {
  kafka_is_up || { [ -f "$dir/run/kafka.pid" ] && ! kafka_pid >/dev/null; }
}

stop_kafka() { stop_daemon "Kafka of the $name stack" TERM 30 KILL kafka_pid; }

write_kafka_properties() {
  local port controller proxied='' proxy=''
  port=$(kafka_port)
  controller=$(controller_port)
  if [ "$name" = test ]; then
    proxied=,PROXIED://127.0.0.1:$(proxied_port)
    proxy=,PROXIED://127.0.0.1:$(proxy_port)
  fi
  cat "$here/kafka.properties" - >"$dir/kafka/server.properties" <<PROPERTIES

# Written by every start of the stack.
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$proxied
advertised.listeners=PLAINTEXT://127.0.0.1:$port$proxy
log.dirs=$dir/kafka/data
PROPERTIES
}

# kafka_tool NAME ARGS…: one of Kafka's own command line tools.
kafka_tool() {
  local tool=${1:-} class
  [ -n "$tool" ] || die "usage: stack kafka [main|test] topics|consumer-groups|groups|console-producer|console-consumer|get-offsets|configs|log-dirs|CLASS ARGS…"
  shift
  case $tool in
    topics) class=org.apache.kafka.tools.TopicCommand ;;
    consumer-groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    groups) class=org.apache.kafka.tools.GroupsCommand ;;
    console-producer) class=org.apache.kafka.tools.ConsoleProducer ;;
    console-consumer) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    get-offsets) class=org.apache.kafka.tools.GetOffsetShell ;;
    delete-records) class=org.apache.kafka.tools.DeleteRecordsCommand ;;
    log-dirs) class=org.apache.kafka.tools.LogDirsCommand ;;
    configs) class=kafka.admin.ConfigCommand ;;
    *.*) class=$tool ;;
    *) die "unknown Kafka tool '$tool': give a class, or topics, consumer-groups, groups, console-producer, console-consumer, get-offsets, delete-records, log-dirs or configs" ;;
  esac
  exec "${as_user[@]}" "$java" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*" "$class" \
    --bootstrap-server "127.0.0.1:$(kafka_port)" "$@"
}
