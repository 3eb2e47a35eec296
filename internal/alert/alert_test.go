package alert_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"opsbot/internal/alert"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// report is what Alertmanager's documentation shows, with two alerts.
const report = `{
  "version": "4", "groupKey": "{}:{alertname=\"CacheHitRateLow\"}", "truncatedAlerts": 0, "status": "firing", "receiver": "opsbot",
  "groupLabels": {"alertname": "CacheHitRateLow"},
  "commonLabels": {"alertname": "CacheHitRateLow", "severity": "warning", "environment": "demo"},
  "commonAnnotations": {"summary": "The cache misses too often."},
  "externalURL": "http://alerts.example:9093",
  "alerts": [
    {"status": "firing", "labels": {"alertname": "CacheHitRateLow", "severity": "warning", "environment": "demo", "instance": "a"},
     "annotations": {"summary": "The cache misses too often."}, "startsAt": "2026-11-23T03:10:00Z", "endsAt": "0001-01-01T00:00:00Z",
     "generatorURL": "http://prometheus.example/graph", "fingerprint": "a1"},
    {"status": "resolved", "labels": {"alertname": "CacheHitRateLow", "severity": "warning", "environment": "demo", "instance": "b"},
     "annotations": {}, "startsAt": "2026-11-23T03:05:00Z", "endsAt": "2026-11-23T03:12:00Z", "fingerprint": "b2"}
  ]
}`

func TestParse(t *testing.T) {
	t.Parallel()
	g, err := alert.Parse([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v|%s|%s|%s|%s|%s|%d|%d", g.Firing(), g.Name(), g.Summary(), g.Label("severity"), g.Own(g.Alerts[1]), g.Since().Format("15:04"), len(g.Onsets()), len(g.ID()))
	if want := "true|CacheHitRateLow|The cache misses too often.|warning|instance=b|03:05|2|24"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		`"version": "4"→"version": "3"`:                                   `Version "3"`,
		`"status": "firing", "rec→"status": "x", "rec`:                    `The status "x"`,
		`"groupKey": "{}:{alertname=\"CacheHitRateLow\"}"→"groupKey": ""`: "no groupKey",
		`"alerts": [→"other": [`:                                          "no alert",
		`{→[`:                                                             "not the JSON",
	} {
		old, now, _ := strings.Cut(change, "→")
		_, err := alert.Parse([]byte(strings.Replace(report, old, now, 1)))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), want) {
			t.Errorf("Parse() with %s = %v, want Invalid with %q", now, err, want)
		}
	}
}

func TestParseManyAlerts(t *testing.T) {
	t.Parallel()
	g, err := alert.Parse([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	for len(g.Alerts) < 1500 {
		g.Alerts = append(g.Alerts, g.Alerts[0])
	}
	body, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if g, err = alert.Parse(body); err != nil || len(g.Alerts) != 1000 || g.Truncated != 500 {
		t.Errorf("Parse() of 1500 alerts = %d and %d more, %v", len(g.Alerts), g.Truncated, err)
	}
}

func TestSuggested(t *testing.T) {
	t.Parallel()
	g, err := alert.Parse([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	book := func(matchers ...map[string]string) *runbooks.Runbook { return &runbooks.Runbook{Alerts: matchers} }
	for name, c := range map[string]struct {
		rb   *runbooks.Runbook
		want bool
	}{
		"by name":              {book(map[string]string{"alertname": "CacheHitRateLow"}), true},
		"all labels":           {book(map[string]string{"alertname": "CacheHitRateLow", "instance": "a"}), true},
		"one of two matchers":  {book(map[string]string{"alertname": "Other"}, map[string]string{"severity": "warning"}), true},
		"another value":        {book(map[string]string{"alertname": "CacheHitRateLow", "severity": "critical"}), false},
		"a label it lacks":     {book(map[string]string{"team": ""}), false},
		"what is resolved":     {book(map[string]string{"instance": "b"}), false},
		"an empty matcher":     {book(map[string]string{}), false},
		"a runbook without it": {book(), false},
	} {
		if got := len(g.Suggested([]*runbooks.Runbook{c.rb})) == 1; got != c.want {
			t.Errorf("%s: suggested %v, want %v", name, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(report))
	f.Add([]byte(`{"version":"4","groupKey":"k","status":"resolved","alerts":[{}]}`))
	f.Add([]byte(`{"version":"4","groupKey":"k","status":"firing","alerts":[{"labels":{"":""},"startsAt":"9999-12-31T23:59:59Z"}],"truncatedAlerts":-5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := alert.Parse(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("Parse() = %v, want Invalid", err)
			}
			return
		}
		if len(g.Onsets()) == 0 || g.ID() == "" || g.Name() == "" {
			t.Errorf("no name for %q", body)
		}
		_, _, _ = g.Since(), g.Summary(), g.Own(g.Alerts[0])
		g.Suggested([]*runbooks.Runbook{{Alerts: []map[string]string{{"alertname": "x"}}}})
	})
}
