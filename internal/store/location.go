package store

import (
	"net/url"
	"path/filepath"
	"strings"

	"opsbot/internal/fault"
)

// A location is a parsed database URL. Exactly one field is set.
type location struct {
	file     string // absolute path of a SQLite file
	postgres string // PostgreSQL URL, with its password
}

const urlHint = `Write "sqlite:opsbot.db" for a file or "postgres://user@host:5432/name" for a server.`

func parseURL(s string) (location, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case ok && scheme == "sqlite":
		if rest == "" || strings.ContainsAny(rest, "?#\x00") || strings.HasPrefix(rest, ":") {
			return location{}, fault.New(fault.Invalid, "The database URL names no SQLite file.").Hinted("%s", urlHint)
		}
		path, err := filepath.Abs(strings.TrimPrefix(rest, "//"))
		if err != nil {
			return location{}, fault.New(fault.Invalid, "The database's path cannot be resolved.").Because(err)
		}
		return location{file: path}, nil
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		// The parser's error quotes the URL, password included.
		if u, err := url.Parse(s); err != nil || u.Host == "" && u.Query().Get("host") == "" {
			return location{}, fault.New(fault.Invalid, "The database URL is not a valid PostgreSQL URL.").Hinted("%s", urlHint)
		}
		return location{postgres: s}, nil
	}
	return location{}, fault.New(fault.Invalid, "The database URL is neither sqlite: nor postgres://.").Hinted("%s", urlHint)
}
