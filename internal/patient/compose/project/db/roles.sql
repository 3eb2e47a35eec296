-- The roles and the database; passwords come from the environment.
ALTER ROLE postgres PASSWORD :'postgres';
CREATE ROLE app LOGIN PASSWORD :'app';
CREATE DATABASE bot_production OWNER app;
\connect bot_production
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pgstattuple;

-- What opsbot works with. docs/connections/postgres.md explains each.
CREATE ROLE opsbot_ro LOGIN PASSWORD :'opsbot_ro';
GRANT pg_monitor TO opsbot_ro;
GRANT CONNECT ON DATABASE bot_production TO opsbot_ro;
ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO opsbot_ro;

CREATE ROLE opsbot_maint LOGIN PASSWORD :'opsbot_maint';
GRANT app, pg_monitor, pg_signal_backend, pg_checkpoint, pg_stat_scan_tables TO opsbot_maint;

CREATE ROLE opsbot_restore LOGIN CREATEDB PASSWORD :'opsbot_restore';
GRANT app, pg_signal_backend TO opsbot_restore;
