package bot

import (
	"context"
	"strings"

	"opsbot/internal/outbox"
)

// Mentions turns the names of groups, as the configuration has them, into
// Slack's user groups, so that people who are needed are told.
type Mentions struct {
	Directory *Directory
	Handles   map[string]string // by the group's name; groups without a user group are absent
}

// resolve returns the content with the ids of user groups in the place of
// names, and of handles that people typed: those begin with @. What Slack does not know, or not now, stays a name: it is said all
// the same, it only pings nobody.
func (m Mentions) resolve(ctx context.Context, c outbox.Content) outbox.Content {
	if m.Directory == nil {
		return c
	}
	switch c := c.(type) {
	case outbox.RunCard:
		c.NextGroups = m.ids(ctx, c.NextGroups)
		return c
	case outbox.Ask:
		c.Groups = m.ids(ctx, c.Groups)
		return c
	case outbox.Line:
		c.Groups = m.ids(ctx, c.Groups)
		return c
	case outbox.Prompt:
		c.Groups = m.ids(ctx, c.Groups)
		return c
	}
	return c
}

func (m Mentions) ids(ctx context.Context, names []string) []string {
	ids := make([]string, len(names))
	for i, name := range names {
		handle, typed := strings.CutPrefix(name, "@")
		if !typed {
			handle = m.Handles[name]
		}
		if ids[i] = strings.TrimPrefix(name, "@"); handle != "" {
			if id, err := m.Directory.groupID(ctx, strings.ToLower(handle)); err == nil {
				ids[i] = id
			}
		}
	}
	return ids
}
