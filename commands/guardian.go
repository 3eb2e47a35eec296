package commands

import (
	"context"

	"opsbot/incidents"
	"opsbot/runbooks/engine"
)

// A Guardian tells the engine the rules of the incident that a run belongs to.
type Guardian struct {
	Incidents *incidents.Tracker
}

// Rules returns those of the incident with the id.
func (g Guardian) Rules(ctx context.Context, subject string) (engine.Rules, error) {
	r, err := g.Incidents.RunRules(ctx, subject)
	return engine.Rules(r), err
}
