package engine

import (
	"context"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A narrow connection can do one thing.
type narrow struct{}

func (narrow) Identity(context.Context) (string, error) { return "narrow", nil }
func (narrow) Address() string                          { return "narrow" }
func (narrow) Close() error                             { return nil }
func (narrow) Lacks(action string) error {
	if action == "docker.ps" {
		return nil
	}
	return fault.New(fault.Invalid, "It has no Compose file.")
}

// What a connection cannot do is said before the run, not in the middle of it.
func TestRunIsRefusedWhereAConnectionLacksSomething(t *testing.T) {
	t.Parallel()
	env := &Environment{Name: "demo", Targets: map[string]runbooks.Target{"docker": {Kind: "docker", Conn: narrow{}}}}
	look := &runbooks.Step{ID: "look", Do: "docker.ps", Target: "docker"}
	up := &runbooks.Step{ID: "up", Do: "compose.up", Target: "docker"}
	rb := &runbooks.Runbook{Slug: "deploy", Uses: []runbooks.Use{{Name: "docker", Kind: "docker"}}, Steps: []*runbooks.Step{look}}
	if err := runnable(rb, env); err != nil {
		t.Error(err)
	}
	for _, where := range []*[]*runbooks.Step{&rb.Steps, &rb.Rollback, &rb.Cleanup} {
		was := *where
		*where = append(was[:len(was):len(was)], up)
		err := runnable(rb, env)
		if text := fault.Say(err); fault.KindOf(err) != fault.Conflict || !strings.Contains(text, "its step up needs compose.up") || !strings.Contains(text, "no Compose file") {
			t.Errorf("it says %q", text)
		}
		*where = was
	}
}
