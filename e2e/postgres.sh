#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own: DAYFLY_TEST_POSTGRES is its URL. The server runs on a free port under an
# unprivileged user, in a temporary directory, and ends with the command. It shows a certificate for `localhost`;
# DAYFLY_TEST_POSTGRES_CA is the file to check it with.
#   e2e/postgres.sh cargo test ...
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
  echo "postgres: $*" >&2
  exit 1
}

find_programs() {
  local directory
  for directory in /usr/lib/postgresql/*/bin; do
    if [ -x "$directory/initdb" ]; then
      programs=$directory
      return
    fi
  done
  return 1
}

if ! find_programs; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "install PostgreSQL, Debian's package postgresql"
  echo "postgres: installing Debian's postgresql"
  apt-get update -q >/dev/null
  # The package would make and start a server of its own.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql openssl >/dev/null
  find_programs || die "Debian's postgresql brought no initdb"
fi

# The server refuses to run as root.
as_user() {
  if [ "$(id -u)" = 0 ]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

directory=$(mktemp -d "${TMPDIR:-/tmp}/dayfly-postgres.XXXXXX")
[ "$(id -u)" != 0 ] || chown postgres: "$directory"

stop() {
  # Immediately: nothing of it is needed any more.
  as_user "$programs/pg_ctl" --pgdata "$directory/data" --mode immediate stop >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$directory"
as_user "$programs/initdb" --pgdata "$directory/data" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 \
  --no-sync >"$directory/initdb.log" 2>&1 || die "initdb failed: $(tail -5 "$directory/initdb.log")"
as_user openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
  -keyout "$directory/data/server.key" -out "$directory/data/server.crt" 2>/dev/null || die "openssl made no certificate"
as_user chmod 600 "$directory/data/server.key"
cp "$directory/data/server.crt" "$directory/ca.crt"
chmod 755 "$directory"

# Free now; should somebody else take the port in between, another one is tried.
for _ in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 12000))
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
  if as_user "$programs/pg_ctl" --pgdata "$directory/data" --wait --log "$directory/data/log" --options \
    "-p $port -c listen_addresses=localhost -c unix_socket_directories= -c ssl=on -c max_connections=300 ${DAYFLY_POSTGRES_OPTIONS:--c fsync=off}" \
    start >/dev/null; then
    started=yes
    break
  fi
done
[ "${started:-}" = yes ] || die "the server did not start: $(tail -5 "$directory/data/log")"

cd "$OLDPWD"
export DAYFLY_TEST_POSTGRES="postgresql://postgres@localhost:$port/postgres?sslmode=disable"
export DAYFLY_TEST_POSTGRES_CA="$directory/ca.crt"
"$@"
