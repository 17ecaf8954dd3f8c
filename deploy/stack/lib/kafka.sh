# shellcheck shell=bash
# One Kafka node that is broker and controller (KRaft), with its data in $dir/kafka.

kafka_pid() { pid_in "$dir/run/kafka.pid" "$dir/kafka/server.properties"; }

# The port of the running broker, else the one it would get.
kafka_port() {
  if kafka_pid >/dev/null; then
    as_server sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:\([0-9]*\).*|\1|p' "$dir/kafka/server.properties"
  else
    own_port KAFKA 19092
  fi
}

controller_port() { own_port CONTROLLER 19093; }

# The test stack's broker has a second way in, whose clients are led through a port where a test may run a proxy
# and cut them off: it listens on the broker's port + 2 and says that it is on + 3. As NAME=value lines.
kafka_proxy_env() {
  as_server sed -n -e 's|^listeners=.*,PROXIED://\([0-9.:]*\)$|KAFKA_PROXIED_LISTENER=\1|p' \
    -e 's|^advertised.listeners=.*,PROXIED://\([0-9.:]*\)$|KAFKA_PROXY_ADDRESS=\1|p' "$dir/kafka/server.properties"
}

# Ends unless Kafka can be started.
prepare_kafka() {
  local variable port
  variable=$(port_variable KAFKA)
  port=$(kafka_port)
  want_port 127.0.0.1 "$port" "Kafka of the $name stack" "$variable"
  want_port 127.0.0.1 "$(controller_port)" "Kafka's controller of the $name stack" "$(port_variable CONTROLLER)"
  [ "$name" != test ] || want_port 127.0.0.1 $((port + 2)) "Kafka of the $name stack (its port + 2)" "$variable"
  need_java
  fetch_kafka
}

# Sets `java`.
need_java() {
  local version
  java=${JAVA_HOME:+$JAVA_HOME/bin/}java
  version=$(as_server "$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
  [ -n "$version" ] || die "needs a JDK (17 or newer) for Kafka, and '$java' does not run: install one (Debian: apt-get install default-jdk-headless), or set JAVA_HOME"
  [ "$version" -ge 17 ] || die "needs a JDK (17 or newer) for Kafka, and '$java' is version $version: install a newer one, or set JAVA_HOME to it"
}

# Starts it and returns at once: await_kafka waits.
start_kafka() {
  local heap="-Xms256m -Xmx1g" options
  [ "$name" != test ] || heap="-Xms256m -Xmx512m"
  options=(-Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX" -cp "$jars/*")
  say "starting Kafka on 127.0.0.1:$(kafka_port)…"
  write_kafka_properties
  # meta.properties is written last: without it a first start was interrupted.
  if ! as_server test -f "$dir/kafka/data/meta.properties"; then
    as_server rm -rf "$dir/kafka/data"
    rotate_log kafka-format
    logged kafka-format "$java" "${options[@]}" kafka.tools.StorageTool format --cluster-id "$(cluster_id)" \
      --config "$dir/kafka/server.properties" ||
      give_up kafka-format "Kafka's storage could not be formatted"
  fi
  # shellcheck disable=SC2086 # The heap is several words.
  start_daemon kafka "$java" ${STACK_KAFKA_HEAP:-$heap} "${options[@]}" kafka.Kafka "$dir/kafka/server.properties"
}

# Kafka's form of a uuid: 16 bytes in 22 characters of URL-safe base64, not starting with a dash.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22; }

write_kafka_properties() {
  local port controller proxied='' proxy=''
  port=$(kafka_port)
  controller=$(controller_port)
  if [ "$name" = test ]; then
    proxied=,PROXIED://127.0.0.1:$((port + 2))
    proxy=,PROXIED://127.0.0.1:$((port + 3))
  fi
  cat "$here/kafka.properties" - <<PROPERTIES | keep "$dir/kafka/server.properties"

# Written by every start of the stack.
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$proxied
advertised.listeners=PLAINTEXT://127.0.0.1:$port$proxy
log.dirs=$dir/kafka/data
PROPERTIES
}

await_kafka() { await kafka 120 kafka_is_up kafka_pid; }

# Its port is open before it serves.
kafka_is_up() {
  kafka_pid >/dev/null && as_server grep -q 'Kafka Server started' "$dir/log/kafka.log" && answers 127.0.0.1 "$(kafka_port)"
}

stop_kafka() { stop_daemon "Kafka of the $name stack" TERM 30 KILL kafka_pid; }

# kafka_tool NAME ARGS…: becomes one of Kafka's own command line tools.
kafka_tool() {
  local tool=${1:-} class
  use_running
  need_java
  fetch_kafka
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
  shift
  exec "${as_user[@]}" "$java" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*" "$class" \
    --bootstrap-server "127.0.0.1:$(kafka_port)" "$@"
}
