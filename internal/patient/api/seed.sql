-- Fills the tables: $1 reconciliations of $2 users over 270 days, the newest now. The
-- same rows each time, but for their times.
INSERT INTO users (id, name, created_at)
SELECT to_char(i, '"u"FM000'), 'User ' || i, now() - interval '300 days'
FROM generate_series(0, $2::int - 1) AS i;

INSERT INTO positions (user_id, symbol, quantity, created_at)
SELECT to_char(i % $2::int, '"u"FM000'), (ARRAY['ACME', 'GLOBEX', 'INITECH', 'UMBRELLA'])[i % 4 + 1], i % 500 + 0.25, now() - i * interval '1 hour'
FROM generate_series(0, 4799) AS i;

INSERT INTO signals (symbol, side, created_at)
SELECT (ARRAY['ACME', 'GLOBEX', 'INITECH', 'UMBRELLA'])[i % 4 + 1], (ARRAY['buy', 'sell'])[i % 2 + 1], now() - i * interval '2 hours'
FROM generate_series(0, 2399) AS i;

INSERT INTO approvals (signal_id, user_id, granted, created_at)
SELECT id, to_char(id % $2::int, '"u"FM000'), id % 7 <> 0, created_at + interval '5 minutes'
FROM signals WHERE id % 2 = 0;

INSERT INTO audit_logs (actor, action, created_at)
SELECT to_char(i % $2::int, '"u"FM000'), (ARRAY['login', 'approve', 'export'])[i % 3 + 1], now() - i * interval '15 minutes'
FROM generate_series(0, 9599) AS i;

INSERT INTO reconciliation_logs (user_id, status, positions, matched, difference, currency, ledger, details, created_at)
SELECT to_char(i % $2::int, '"u"FM000'),
       CASE WHEN i % 9 = 0 THEN 'differs' ELSE 'reconciled' END,
       20 + i % 80,
       20 + i % 80 - CASE WHEN i % 9 = 0 THEN 1 ELSE 0 END,
       CASE WHEN i % 9 = 0 THEN i % 1000 / 100.0 ELSE 0 END,
       (ARRAY['EUR', 'USD', 'CHF'])[i % 3 + 1],
       to_char(i % 10000, '"L-"FM0000') || to_char(i % $2::int, '"-"FM00'),
       md5(i::text) || md5((-i)::text),
       now() - ($1::int - i) * (interval '270 days' / $1::int)
FROM generate_series(1, $1::int) AS i;
