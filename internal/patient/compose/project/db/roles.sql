-- The roles and the database; passwords come from the environment.
ALTER ROLE postgres PASSWORD :'postgres';
CREATE ROLE app LOGIN PASSWORD :'app';
CREATE DATABASE bot_production OWNER app;
\connect bot_production
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE EXTENSION IF NOT EXISTS pgstattuple;

-- What opsbot works with, as docs/connections/postgres.md has it.
CREATE ROLE opsbot_ro LOGIN PASSWORD :'opsbot_ro' CONNECTION LIMIT 6;
GRANT pg_monitor TO opsbot_ro;
GRANT CONNECT ON DATABASE bot_production TO opsbot_ro;
GRANT USAGE ON SCHEMA public TO opsbot_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO opsbot_ro;
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO opsbot_ro;

CREATE ROLE opsbot_maint LOGIN PASSWORD :'opsbot_maint' CONNECTION LIMIT 6;
GRANT app, pg_monitor, pg_signal_backend, pg_checkpoint TO opsbot_maint;

CREATE ROLE opsbot_restore LOGIN CREATEDB PASSWORD :'opsbot_restore' CONNECTION LIMIT 6;
GRANT app, pg_monitor, pg_signal_backend TO opsbot_restore;
