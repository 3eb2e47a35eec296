package bot_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/bot"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/slacksim"
)

// A shelf is a cache whose clock can be turned back.
type shelf struct {
	mu    sync.Mutex
	users map[string][]string
	at    time.Time
}

func (s *shelf) Put(_ context.Context, handle string, users []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users, s.at = map[string][]string{handle: users}, time.Now()
	return nil
}

func (s *shelf) Find(_ context.Context, handle string) ([]string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[handle]; !ok {
		return nil, time.Time{}, nil
	}
	return s.users[handle], s.at, nil
}

// workspace returns a checked workspace without a bot in it.
func workspace(t *testing.T, o slacksim.Options) (*house, *bot.Workspace) {
	t.Helper()
	h := build(t, o)
	h.sim.AddUsergroup(slacksim.Usergroup{Handle: "sre", Users: []string{"ann", "ben"}})
	w, err := bot.NewWorkspace(h.access())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if err := w.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, w
}

func TestMembers(t *testing.T) {
	t.Parallel()
	h, w := workspace(t, slacksim.Options{})
	var _ access.Directory = w.Directory(nil, nil)
	cache := &shelf{}
	d := w.Directory(cache, nil)
	want := []string{h.sim.As("ann").ID(), h.sim.As("ben").ID()}
	for _, handle := range []string{"sre", "@sre", "SRE"} {
		if got, err := d.Members(t.Context(), handle); err != nil || !slices.Equal(got, want) {
			t.Errorf("Members(%s) = %v, %v; want %v", handle, got, err, want)
		}
	}
	if n := h.count("usergroups.users.list"); n != 1 {
		t.Errorf("asked %d times for one click", n)
	}
	if _, err := d.Members(t.Context(), "nobody"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Members(nobody) = %v", err)
	}

	// Slack falls silent: what the database has of the last day counts, after a
	// restart too.
	h.sim.Fail("usergroups.list", slacksim.Fault{Status: 503, For: time.Hour})
	d = w.Directory(cache, nil)
	if got, err := d.Members(t.Context(), "sre"); err != nil || !slices.Equal(got, want) {
		t.Errorf("from the cache: %v, %v", got, err)
	}
	cache.at = time.Now().Add(-25 * time.Hour)
	d = w.Directory(cache, nil)
	if _, err := d.Members(t.Context(), "sre"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("from an old cache: %v", err)
	}
	h.sim.Heal()
	if got, err := d.Members(t.Context(), "sre"); err != nil || !slices.Equal(got, want) {
		t.Errorf("after all: %v, %v", got, err)
	}
}

func TestMembersOnTheFreePlan(t *testing.T) {
	t.Parallel()
	_, w := workspace(t, slacksim.Options{FreePlan: true})
	d := w.Directory(nil, map[string][]string{"sre": {"U1"}})
	if got, err := d.Members(t.Context(), "sre"); err != nil || !slices.Equal(got, []string{"U1"}) {
		t.Errorf("Members(sre) = %v, %v", got, err)
	}
	_, err := d.Members(t.Context(), "dba")
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Say(err), "plan has no user groups") {
		t.Errorf("Members(dba) = %v", err)
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	h, w := workspace(t, slacksim.Options{})
	h.sim.AddUser(slacksim.User{Name: "gus", Guest: true})
	h.sim.AddUser(slacksim.User{Name: "dan", Deactivated: true})
	d := w.Directory(nil, nil)
	for user, want := range map[string]access.Standing{
		h.sim.As("ann").ID(): {},
		h.sim.As("gus").ID(): {Guest: true},
		h.sim.As("dan").ID(): {Deactivated: true},
		h.sim.BotUserID():    {Bot: true},
	} {
		if got, err := d.Standing(t.Context(), user); err != nil || got != want {
			t.Errorf("Standing(%s) = %+v, %v; want %+v", user, got, err, want)
		}
	}
	if _, err := d.Standing(t.Context(), "U0NOBODY"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Standing(U0NOBODY) = %v", err)
	}
	h.sim.Fail("users.info", slacksim.Fault{Status: 500, For: time.Hour})
	if got, err := d.Standing(t.Context(), h.sim.As("gus").ID()); err != nil || !got.Guest {
		t.Errorf("from memory: %+v, %v", got, err)
	}
	if _, err := d.Standing(t.Context(), h.sim.As("carl").ID()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Standing(carl) = %v", err)
	}
}
