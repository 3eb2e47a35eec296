package access_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/access"
	"opsbot/internal/fault"
)

// directory is a workspace as a table.
type directory struct {
	groups map[string][]string
	people map[string]access.Standing
	down   bool
}

func (d directory) Members(_ context.Context, handle string) ([]string, error) {
	if d.down {
		return nil, fault.New(fault.Unavailable, "Slack does not answer.")
	}
	ids, ok := d.groups[handle]
	if !ok {
		return nil, fault.New(fault.NotFound, "There is no user group @%s.", handle)
	}
	return ids, nil
}

func (d directory) Standing(_ context.Context, user string) (access.Standing, error) {
	return d.people[user], nil
}

var workspace = directory{
	groups: map[string][]string{"sre-team": {"U1", "U2", "UBOT"}, "oncall-team": {"U3"}},
	people: map[string]access.Standing{
		"UBOT": {Bot: true}, "UGUEST": {Guest: true}, "UALIEN": {Stranger: true}, "UGONE": {Deactivated: true},
	},
}

var policy = access.Policy{Groups: map[string]access.Group{
	"sre":    {Usergroup: "sre-team", Users: []string{"UGUEST", "UALIEN", "UGONE", "U9"}},
	"oncall": {Usergroup: "oncall-team"},
	"dba":    {Users: []string{"U7"}},
	"ghosts": {Usergroup: "nobody-made-it"},
}}

func person(id string) access.Actor { return access.Actor{Kind: access.Person, Team: "T1", ID: id} }

func TestMay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		actor  access.Actor
		groups []string
		want   string // part of the refusal; "" for allowed
	}{
		{"member of the user group", person("U1"), []string{"sre"}, ""},
		{"listed", person("U7"), []string{"dba"}, ""},
		{"second group", person("U7"), []string{"sre", "dba"}, ""},
		{"listed beside a user group", person("U9"), []string{"sre"}, ""},
		{"not a member", person("U3"), []string{"sre"}, "not in sre"},
		{"none of three", person("U8"), []string{"sre", "oncall", "dba"}, "not in sre, oncall or dba"},
		{"unknown group", person("U1"), []string{"nosuch"}, "not in nosuch"},
		{"group without a user group in Slack", person("U1"), []string{"ghosts"}, "not in ghosts"},
		{"no group", person("U1"), nil, "no group is named"},
		{"bot", person("UBOT"), []string{"sre"}, "Bots"},
		{"guest", person("UGUEST"), []string{"sre"}, "Guests"},
		{"stranger", person("UALIEN"), []string{"sre"}, "other workspaces"},
		{"deactivated", person("UGONE"), []string{"sre"}, "deactivated"},
		{"schedule", access.Actor{Kind: access.Schedule, ID: "U1"}, []string{"sre"}, "Only people"},
		{"nobody", access.Actor{}, []string{"sre"}, "Only people"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := policy.May(t.Context(), workspace, tt.actor, tt.groups...)
			if tt.want == "" {
				if err != nil {
					t.Errorf("May() = %v, want nil", err)
				}
				return
			}
			if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), tt.want) {
				t.Errorf("May() = %v, want Forbidden with %q", err, tt.want)
			}
		})
	}
}

func TestMayFailsClosed(t *testing.T) {
	t.Parallel()
	dark := workspace
	dark.down = true
	if err := policy.May(t.Context(), dark, person("U1"), "sre"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("May() without Slack = %v, want Unavailable", err)
	}
	if err := policy.May(t.Context(), dark, person("U7"), "sre", "dba"); err != nil {
		t.Errorf("May() of a listed user without Slack = %v, want nil", err)
	}
	if _, err := policy.Members(t.Context(), dark, "sre"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Members() without Slack = %v, want Unavailable", err)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	got, err := policy.Members(t.Context(), workspace, "sre", "dba", "ghosts", "nosuch", "sre")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"U1", "U2", "U7", "U9"}, got); diff != "" {
		t.Errorf("Members() (-want +got):\n%s", diff)
	}
}

func TestReviewers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		floor    *access.Floor
		critical bool
		want     int
	}{
		{nil, false, 1},
		{nil, true, 2},
		{&access.Floor{}, true, 0},
		{&access.Floor{Destructive: 2, DestructiveCritical: 1}, true, 2},
		{&access.Floor{Destructive: 3}, false, 3},
	} {
		if got := (access.Policy{Review: tt.floor}).Reviewers(tt.critical); got != tt.want {
			t.Errorf("Reviewers(%v) with floor %v = %d, want %d", tt.critical, tt.floor, got, tt.want)
		}
	}
}
