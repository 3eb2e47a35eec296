#!/bin/bash
# Makes the cluster at the first start; then PostgreSQL is process 1, so that
# Docker's signals reach it and not a shell.
set -euo pipefail
export PATH=/usr/lib/postgresql/15/bin:$PATH
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }

mkdir -p /var/run/postgresql "$PGDATA"
chown postgres:postgres /var/run/postgresql "$PGDATA"
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/ready" ]; then
  find "$PGDATA" -mindepth 1 -delete # half a cluster, of a start that was cut off
  as_postgres initdb -D "$PGDATA" -U postgres -E UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 --no-sync >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  as_postgres pg_ctl -D "$PGDATA" -s -w -o "-c listen_addresses='' -c fsync=off -c shared_preload_libraries=pg_stat_statements" start
  as_postgres psql -X -q -U postgres -d postgres -v ON_ERROR_STOP=1 -f /patient/roles.sql \
    -v postgres="$POSTGRES_PASSWORD" -v app="$APP_PASSWORD" -v opsbot_ro="$OPSBOT_RO_PASSWORD" \
    -v opsbot_maint="$OPSBOT_MAINT_PASSWORD" -v opsbot_restore="$OPSBOT_RESTORE_PASSWORD"
  as_postgres pg_ctl -D "$PGDATA" -s -w stop
  echo yes >"$PGDATA/ready"
fi

# fsync is off: a patient survives the end of its processes, and need not
# survive that of the machine.
exec setpriv --reuid=postgres --regid=postgres --init-groups -- postgres -D "$PGDATA" \
  -c listen_addresses='*' -c max_connections=40 -c fsync=off \
  -c shared_preload_libraries=pg_stat_statements -c log_min_duration_statement=1000
