#!/bin/bash
# Redis with an account of its own, so that a folder can be closed to it.
set -euo pipefail
mkdir -p /data
chown redis:redis /data
exec setpriv --reuid=redis --regid=redis --init-groups -- redis-server /patient/redis.conf
