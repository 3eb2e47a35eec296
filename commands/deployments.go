package commands

import (
	"context"
	"fmt"
	"strings"

	"opsbot/internal/deployment"
	"opsbot/internal/outbox"
)

// deployments lists what was put into service, newest first.
func (r *Router) deployments(ctx context.Context, c Command) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Deployments"}
	if c.Service != "" {
		a.Title += " of " + c.Service
	}
	if c.Environment != "" {
		a.Title += " on " + c.Environment
	}
	list, err := r.Runs.Deployments(ctx, deployment.Query{Environment: c.Environment, Service: c.Service, Limit: maxRuns})
	if err != nil {
		return a, err
	}
	for _, d := range list {
		run := fmt.Sprint("R", d.RunNumber)
		who := d.By.Name
		if who == "" {
			who = d.By.ID
		}
		image := d.ImageID
		if d.Image != "" {
			image = d.Image + ", " + image
		}
		detail := []string{image, fmt.Sprintf("by %s in %s (%s), %s ago", who, run, d.Runbook, ago(r.now().Sub(d.At)))}
		if d.MigrationHead != "" {
			detail = append(detail, "migrations at "+d.MigrationHead)
		}
		if d.Note != "" {
			detail = append(detail, d.Note)
		}
		a.Items = append(a.Items, outbox.Item{
			Name: fmt.Sprintf("D%d %s on %s", d.Number, d.Service, d.Environment), Detail: strings.Join(detail, "; "),
			Command: Command{Verb: verbStatus, Run: run}.Line(), Label: "Show",
		})
	}
	if len(list) == 0 {
		a.Text = "Nothing is on record. A runbook puts it there with deployment.record."
	}
	return a, nil
}
