// Package alert reads what Alertmanager reports and says which runbooks it
// suggests. It starts nothing.
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// MaxBody is how many bytes of a report are read.
const MaxBody = 1 << 20

const maxAlerts = 1000 // of a group; the rest is not looked at

// A Group is what one report of Alertmanager's webhook, version 4, is about:
// alerts that belong together.
type Group struct {
	Key         string            `json:"groupKey"`
	Version     string            `json:"version"`
	Status      string            `json:"status"` // firing while one of the alerts is
	Labels      map[string]string `json:"groupLabels"`
	Common      map[string]string `json:"commonLabels"`
	Annotations map[string]string `json:"commonAnnotations"`
	External    string            `json:"externalURL"`
	Truncated   int               `json:"truncatedAlerts"`
	Alerts      []Alert           `json:"alerts"`
}

// An Alert is one of a Group.
type Alert struct {
	Status      string            `json:"status"` // firing or resolved
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Starts      time.Time         `json:"startsAt"`
	Ends        time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// Parse reads the body of a report. The error is a *fault.Error of kind
// Invalid.
func Parse(body []byte) (*Group, error) {
	var g Group
	if err := json.Unmarshal(body, &g); err != nil {
		return nil, fault.New(fault.Invalid, "This is no report of Alertmanager's webhook: it is not the JSON that is expected.").Because(err)
	}
	switch {
	case g.Version != "4":
		return nil, fault.New(fault.Invalid, "Version %q of Alertmanager's webhook is not known; opsbot reads version 4.", g.Version)
	case g.Key == "":
		return nil, fault.New(fault.Invalid, "The report has no groupKey.")
	case g.Status != "firing" && g.Status != "resolved":
		return nil, fault.New(fault.Invalid, "The status %q of the report is neither firing nor resolved.", g.Status)
	case len(g.Alerts) == 0:
		return nil, fault.New(fault.Invalid, "The report holds no alert.")
	}
	if over := len(g.Alerts) - maxAlerts; over > 0 {
		g.Alerts, g.Truncated = g.Alerts[:maxAlerts], max(g.Truncated, 0)+over
	}
	return &g, nil
}

// Firing reports whether one of the alerts is firing.
func (g *Group) Firing() bool { return g.Status == "firing" }

// ID names the group: short, and the same in each of its reports.
func (g *Group) ID() string {
	sum := sha256.Sum256([]byte(g.Key))
	return hex.EncodeToString(sum[:12])
}

// An Onset is one alert from the moment it began: its ID tells a report that
// comes late from an alert that fires again.
type Onset struct {
	ID     string    `json:"id"`
	Labels string    `json:"labels,omitempty"` // that the others of the group do not have
	Starts time.Time `json:"starts"`
	Ends   time.Time `json:"ends,omitzero"` // zero: it fires
}

const maxLabels = 200 // bytes of an Onset's labels that are kept

// Onsets are the group's alerts, each once, in the order of their IDs.
func (g *Group) Onsets() []Onset {
	list := make([]Onset, len(g.Alerts))
	for i, a := range g.Alerts {
		id := a.Fingerprint
		if id == "" {
			data, err := json.Marshal(a.Labels) // in the order of the keys
			if err != nil {
				data = nil
			}
			id = string(data)
		}
		sum := sha256.Sum256([]byte(id + "\x00" + a.Starts.UTC().Format(time.RFC3339Nano)))
		list[i] = Onset{ID: hex.EncodeToString(sum[:8]), Labels: g.Own(a), Starts: a.Starts.UTC()}
		if len(list[i].Labels) > maxLabels {
			list[i].Labels = strings.ToValidUTF8(list[i].Labels[:maxLabels], "") + "…"
		}
		if a.Status == "resolved" {
			if list[i].Ends = a.Ends.UTC(); list[i].Ends.Before(a.Starts) {
				list[i].Ends = list[i].Starts
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Onset) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(list, func(a, b Onset) bool { return a.ID == b.ID })
}

// Since is when the first of the alerts began.
func (g *Group) Since() time.Time {
	return slices.MinFunc(g.Alerts, func(a, b Alert) int { return a.Starts.Compare(b.Starts) }).Starts
}

// Label is the value of the label that all alerts share; "" if they do not.
func (g *Group) Label(name string) string {
	if v := g.Common[name]; v != "" {
		return v
	}
	return g.Labels[name]
}

// Name is what the group is called: the common alert's name, or the labels
// that it is grouped by.
func (g *Group) Name() string {
	if n := g.Label("alertname"); n != "" {
		return n
	}
	var parts []string
	for k, v := range g.Labels {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "Alerts"
	}
	return strings.Join(parts, " ")
}

// Summary is what the alerts' author says of all of them.
func (g *Group) Summary() string { return summary(g.Annotations) }

// Summary is what the alert's author says of it.
func (a Alert) Summary() string { return summary(a.Annotations) }

func summary(annotations map[string]string) string {
	for _, key := range []string{"summary", "description", "message"} {
		if s := strings.TrimSpace(annotations[key]); s != "" {
			return s
		}
	}
	return ""
}

// Own are the alert's labels that are not common to the group, as people read
// them.
func (g *Group) Own(a Alert) string {
	var parts []string
	for k, v := range a.Labels {
		if _, common := g.Common[k]; !common {
			parts = append(parts, k+"="+v)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// Suggested are the runbooks that name one of the firing alerts: all labels of
// one of their matchers are the alert's. They are in the order of the list.
func (g *Group) Suggested(all []*runbooks.Runbook) []*runbooks.Runbook {
	var list []*runbooks.Runbook
	for _, rb := range all {
		if slices.ContainsFunc(g.Alerts, func(a Alert) bool { return a.Status == "firing" && matches(rb, a) }) {
			list = append(list, rb)
		}
	}
	return list
}

func matches(rb *runbooks.Runbook, a Alert) bool {
	return slices.ContainsFunc(rb.Alerts, func(matcher map[string]string) bool {
		for label, value := range matcher {
			if have, ok := a.Labels[label]; !ok || have != value {
				return false
			}
		}
		return len(matcher) > 0
	})
}
