package bot

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/access"
	"opsbot/internal/fault"
)

const (
	// groupFresh is how long a user group's members count without asking: long
	// enough for the several questions of one click.
	groupFresh = 3 * time.Second
	// groupStale is how long they count while Slack does not answer.
	groupStale = 24 * time.Hour
	// handleFresh is how long a handle keeps its group.
	handleFresh = 5 * time.Minute
	// userFresh is how long a person's standing counts.
	userFresh = 5 * time.Minute
	// askTimeout leaves something of the three seconds of a click.
	askTimeout = 2 * time.Second
)

// A GroupCache keeps the members of user groups across restarts. It is
// implemented by the store.
type GroupCache interface {
	// Put replaces what is known about the group with the handle.
	Put(ctx context.Context, handle string, users []string) error
	// Find returns the members as last put, and when; a zero time means that
	// nothing is known.
	Find(ctx context.Context, handle string) (users []string, fetched time.Time, err error)
}

// A Directory knows the people of a workspace. It asks Slack for the members
// of a user group each time, but for the questions of one click; while Slack
// does not answer, what it heard within the last 24 hours counts. A person's
// standing is kept for five minutes, and for 24 hours without Slack.
type Directory struct {
	w        *Workspace
	cache    GroupCache          // may be nil
	fallback map[string][]string // members by handle where the plan has no user groups
	log      *slog.Logger

	mu     sync.Mutex
	ids    map[string]string // handle → group id
	idsAt  time.Time
	groups map[string]*group
	users  map[string]standing
}

type group struct {
	sync.Mutex // held while Slack is asked, so that one question serves all
	members    []string
	at         time.Time
}

type standing struct {
	access.Standing
	name, zone string
	at         time.Time
}

// Directory returns a directory of the workspace. The cache may be nil. The
// fallback gives the members of groups, by handle, for workspaces whose plan
// has no user groups.
func (w *Workspace) Directory(cache GroupCache, fallback map[string][]string) *Directory {
	d := &Directory{w: w, cache: cache, fallback: fallback, log: w.log, groups: map[string]*group{}, users: map[string]standing{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.people = append(w.people, d)
	return d
}

// accountChanged has directories ask anew who the user is. Other replicas ask
// by themselves within five minutes: Slack tells one of them alone.
func (w *Workspace) accountChanged(user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.people {
		d.mu.Lock()
		if s, ok := d.users[user]; ok {
			s.at = time.Now().Add(-userFresh) // still better than nothing while Slack is silent
			d.users[user] = s
		}
		d.mu.Unlock()
	}
}

// Members returns the user ids of the group with the handle.
func (d *Directory) Members(ctx context.Context, usergroup string) ([]string, error) {
	handle := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(usergroup), "@"))
	if handle == "" {
		return nil, fault.New(fault.NotFound, "A user group without a handle has no members.")
	}
	d.mu.Lock()
	g := d.groups[handle]
	if g == nil {
		g = &group{}
		d.groups[handle] = g
	}
	d.mu.Unlock()
	g.Lock()
	defer g.Unlock()
	if !g.at.IsZero() && time.Since(g.at) < groupFresh {
		return slices.Clone(g.members), nil
	}
	members, err := d.ask(ctx, handle)
	switch kind := fault.KindOf(err); {
	case err == nil:
		g.members, g.at = members, time.Now()
		if d.cache != nil {
			if err := d.cache.Put(ctx, handle, members); err != nil {
				d.log.Warn("keep the members of a user group", "group", handle, "error", err)
			}
		}
		return slices.Clone(members), nil
	case kind == fault.NotFound:
		return nil, err
	}
	if g.at.IsZero() && d.cache != nil {
		known, at, cacheErr := d.cache.Find(ctx, handle)
		if cacheErr != nil {
			d.log.Warn("look up the members of a user group", "group", handle, "error", cacheErr)
		} else if !at.IsZero() {
			// groupFresh must not start anew with it.
			g.members, g.at = known, at
		}
	}
	if !g.at.IsZero() && time.Since(g.at) < groupStale {
		d.log.Warn("Slack does not say who is in a user group; what it said before counts", "group", handle, "heard", g.at, "error", err)
		return slices.Clone(g.members), nil
	}
	return nil, err
}

// ask asks Slack. Its errors are of kind NotFound or Unavailable.
func (d *Directory) ask(ctx context.Context, handle string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id, err := d.groupID(ctx, handle)
	if err != nil {
		return d.without(handle, err)
	}
	var members []string
	err = d.w.call(ctx, "usergroups.users.list", func(ctx context.Context) (err error) {
		members, err = d.w.api.GetUserGroupMembersContext(ctx, id)
		return err
	})
	if word(err) == "no_such_subteam" {
		d.mu.Lock()
		d.idsAt = time.Time{}
		d.mu.Unlock()
		return nil, noGroup(handle)
	}
	if err != nil {
		return d.without(handle, err)
	}
	return members, nil
}

// groupID finds the group's id by its handle. Disabled groups are none.
func (d *Directory) groupID(ctx context.Context, handle string) (string, error) {
	d.mu.Lock()
	id, fresh := d.ids[handle], time.Since(d.idsAt) < handleFresh
	d.mu.Unlock()
	if fresh && id != "" {
		return id, nil
	}
	// slack-go refuses the whole list for a user_count in quotes, which is how
	// Slack documents it (slack-go/slack#1604).
	var list struct {
		Groups []struct {
			ID         string `json:"id"`
			Handle     string `json:"handle"`
			DateDelete int64  `json:"date_delete"`
		} `json:"usergroups"`
	}
	err := d.w.call(ctx, "usergroups.list", func(ctx context.Context) error { return d.w.plain(ctx, "usergroups.list", &list) })
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids, d.idsAt = map[string]string{}, time.Now()
	for _, g := range list.Groups {
		if g.DateDelete == 0 {
			d.ids[strings.ToLower(g.Handle)] = g.ID
		}
	}
	if d.ids[handle] == "" {
		return "", noGroup(handle)
	}
	return d.ids[handle], nil
}

// without answers when Slack gave no members.
func (d *Directory) without(handle string, err error) ([]string, error) {
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil, err
	case word(err) == "plan_upgrade_required":
		if users, ok := d.fallback[handle]; ok {
			return slices.Clone(users), nil
		}
		return nil, fault.New(fault.NotFound, "The user group @%s is not known: this workspace's Slack plan has no user groups.", handle).
			Hinted("List the people under groups.…users in the configuration.").Because(err)
	case word(err) == "missing_scope":
		return nil, fault.New(fault.Unavailable, "Slack does not say who is in @%s: the app lacks the scope usergroups:read.", handle).Because(err)
	}
	return nil, fault.New(fault.Unavailable, "Slack does not say who is in @%s.", handle).Hinted("Please try again in a minute.").Because(err)
}

func noGroup(handle string) error {
	return fault.New(fault.NotFound, "There is no user group @%s in this workspace.", handle)
}

// Standing says what kind of member the user is. An unknown user is an error
// of kind NotFound, a silent Slack one of kind Unavailable.
func (d *Directory) Standing(ctx context.Context, user string) (access.Standing, error) {
	s, err := d.look(ctx, user)
	return s.Standing, err
}

// Name is what the user is called; "" if Slack does not say.
func (d *Directory) Name(ctx context.Context, user string) string {
	s, err := d.look(ctx, user)
	if err != nil {
		return ""
	}
	return s.name
}

// Zone is the IANA name of the user's time zone; "" if Slack does not say.
func (d *Directory) Zone(ctx context.Context, user string) string {
	s, err := d.look(ctx, user)
	if err != nil {
		return ""
	}
	return s.zone
}

func (d *Directory) look(ctx context.Context, user string) (standing, error) {
	d.mu.Lock()
	known, ok := d.users[user]
	d.mu.Unlock()
	if ok && time.Since(known.at) < userFresh {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var u *slack.User
	err := d.w.call(ctx, "users.info", func(ctx context.Context) (err error) {
		u, err = d.w.api.GetUserInfoContext(ctx, user)
		return err
	})
	switch w := word(err); {
	case err == nil:
		s := access.Standing{
			Bot:         u.IsBot || u.ID == "USLACKBOT",
			Guest:       u.IsRestricted || u.IsUltraRestricted,
			Stranger:    u.IsStranger || u.TeamID != "" && u.TeamID != d.w.who().team && d.w.who().team != "",
			Deactivated: u.Deleted,
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.users) > 10_000 {
			clear(d.users)
		}
		d.users[user] = standing{s, u.Name, u.TZ, time.Now()}
		return d.users[user], nil
	case w == "user_not_found" || w == "user_not_visible" || w == "users_not_found":
		return standing{}, fault.New(fault.NotFound, "Slack does not know the user %s.", user).Because(err)
	case ok && time.Since(known.at) < groupStale:
		d.log.Warn("Slack does not say who a user is; what it said before counts", "user", user, "error", err)
		return known, nil
	}
	return standing{}, fault.New(fault.Unavailable, "Slack does not say who the user %s is.", user).Hinted("Please try again in a minute.").Because(err)
}
