package commands

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/incidents/stats"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// statsSpan is how far back the figures go unless it is said.
const statsSpan = 90 * 24 * time.Hour

var daysBack = regexp.MustCompile(`^(\d{1,4})\s*(d|days?|w|weeks?)?$`)

// Measured returns the figures of the incidents that were declared since a
// time.
func (r *Router) Measured(ctx context.Context, since time.Time) (stats.Table, error) {
	var records []stats.Record
	for below := int64(0); ; {
		list, err := r.Incidents.List(ctx, incidents.Query{Below: below, Limit: mostRuns})
		if err != nil {
			return stats.Table{}, err
		}
		for _, i := range list {
			below = i.Number
			if i.Declared.Before(since) {
				continue
			}
			var sum time.Duration
			if len(i.Runs) > 0 {
				runs, err := r.Runs.List(ctx, engine.Query{Subject: i.ID, Limit: mostRuns})
				if err != nil {
					return stats.Table{}, err
				}
				for _, run := range runs {
					sum += waited(run, r.now())
				}
			}
			records = append(records, postmortem.Measured(i, sum))
		}
		if len(list) < mostRuns || list[len(list)-1].Declared.Before(since) {
			return stats.Summarize(records), nil
		}
	}
}

// stats answers with the figures, and a picture of them where one can be shown.
func (r *Router) stats(ctx context.Context, req Request, o Order) (Reply, error) {
	span, word := statsSpan, "last 90 days"
	if s := strings.ToLower(strings.TrimSpace(o.Rest)); s == "all" {
		span, word = 100*365*24*time.Hour, "all"
	} else if s != "" {
		m := daysBack.FindStringSubmatch(s)
		if m == nil {
			return Reply{}, fault.New(fault.Invalid, "%q is no length of time, such as 90d or 4w.", clip(s, 40)).Hinted("%s", orderUsage(req, "stats 90d"))
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n == 0 {
			return Reply{}, fault.New(fault.Invalid, "%q is no length of time, such as 90d or 4w.", clip(s, 40))
		}
		unit := "days"
		if span = time.Duration(n) * 24 * time.Hour; strings.HasPrefix(m[2], "w") {
			span, unit = 7*span, "weeks"
		}
		word = fmt.Sprintf("last %d %s", n, unit)
	}
	table, err := r.Measured(ctx, r.now().Add(-span))
	if err != nil {
		return Reply{}, err
	}
	if table.All().Incidents == 0 {
		return Reply{Answer: &outbox.Answer{Text: "No incident was declared in that time that counts (" + word + ")."}}, nil
	}
	reply := Reply{Answer: &outbox.Answer{Title: "Incidents, " + word, Code: table.Text()}}
	picture, err := table.Chart("Incidents, " + word)
	if err != nil {
		return Reply{}, err
	}
	if picture != nil && req.Where.Channel != "" {
		reply.Notices = append(reply.Notices, outbox.Notice{To: req.Where, Content: outbox.File{Name: "incidents.png", Title: "Incidents, " + word, Data: picture}})
	}
	return reply, nil
}
