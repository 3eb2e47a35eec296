-- Run by a superuser, once, in the database bot_production: the extensions.
-- What opsbot's own roles may do is docs/connections/postgres.md.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE EXTENSION IF NOT EXISTS pgstattuple;
