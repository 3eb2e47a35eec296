package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// PagerDutyURL is where Events API v2 takes events.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// Limits of Events API v2, in characters.
const (
	maxSummary  = 1024
	maxDedupKey = 255
)

// PagerDuty delivers pages by Events API v2. The incident's key and the call's
// name are the dedup_key, so that a page that is sent twice calls nobody twice,
// acknowledge and resolve find what was triggered, and another call rings again
// although an alert is open.
type PagerDuty struct {
	URL        string // "": PagerDutyURL
	RoutingKey string // the integration key of a service: 32 characters
}

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	ClientURL  string            `json:"client_url,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
	Links      []pagerDutyLink   `json:"links,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp string         `json:"timestamp,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// severities are PagerDuty's words for ours. What nobody has assessed may be
// the worst.
var severities = map[string]string{"SEV1": "critical", "SEV2": "error", "SEV3": "warning"}

// Carry sends a page.
func (d PagerDuty) Carry(ctx context.Context, p Parcel) (string, error) {
	var page Page
	if err := json.Unmarshal(p.Body, &page); err != nil || p.Kind != KindPage {
		return "", refuse("PagerDuty takes nothing but pages.")
	}
	body, err := json.Marshal(d.event(page))
	if err != nil {
		return "", refuse("The page cannot be written as JSON.")
	}
	address := d.URL
	if address == "" {
		address = PagerDutyURL
	}
	answer, _, err := post(ctx, address, body, nil)
	if err != nil {
		return "", d.explain(err)
	}
	var said struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &said); err != nil || said.Status != "success" {
		return "", fmt.Errorf("PagerDuty's answer is not understood; the page may not have arrived (%s)", clip(strings.TrimSpace(said.Status+" "+said.Message), 100))
	}
	return "", nil
}

func (d PagerDuty) event(page Page) pagerDutyEvent {
	e := pagerDutyEvent{RoutingKey: d.RoutingKey, Action: page.Action, DedupKey: clip(page.Key+"/"+page.Call, maxDedupKey)}
	if page.Action != Trigger {
		return e
	}
	severity := severities[page.Severity]
	if severity == "" {
		severity = "critical"
	}
	details := map[string]any{"incident": page.Incident, "severity": page.Severity, "state": page.State}
	for k, v := range map[string]string{"impact": page.Impact, "note": page.Note, "paged_by": page.By} {
		if v != "" {
			details[k] = v
		}
	}
	e.Client, e.ClientURL = "opsbot", page.Link
	e.Payload = &pagerDutyPayload{
		Summary: clip(strings.TrimSpace(fmt.Sprintf("%s %s: %s", page.Incident, page.Severity, page.Title)), maxSummary),
		Source:  "opsbot", Severity: severity, Timestamp: page.At.UTC().Format(time.RFC3339), Class: "incident", Details: details,
	}
	if page.Link != "" {
		e.Links = []pagerDutyLink{{page.Link, page.Incident + " in Slack"}}
	}
	return e
}

// explain adds what to do to what PagerDuty refuses.
func (d PagerDuty) explain(err error) error {
	var r *Refused
	if !errors.As(err, &r) {
		return err
	}
	why := strings.ReplaceAll(r.Why, d.RoutingKey, "***")
	if d.RoutingKey == "" {
		why = r.Why
	}
	return refuse("%s Is the routing key that of an Events API v2 integration?", why)
}
