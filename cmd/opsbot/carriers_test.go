package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/config"
)

func TestCarriers(t *testing.T) {
	t.Setenv("PD_KEY", "canary-1")
	t.Setenv("SITE_SECRET", "canary-2")
	read := func(text string) *config.Config {
		t.Helper()
		cfg, err := config.Decode("f.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	got, err := carriers(t.Context(), read("pagers:\n  oncall: { pagerduty: env:PD_KEY }\n  noc: { webhook: \"http://127.0.0.1:1/\" }\nstatus:\n  webhooks:\n    site: { url: https://h/, secret: env:SITE_SECRET }\n"), nil, nil)
	if names := strings.Join(slices.Sorted(maps.Keys(got)), " "); err != nil || names != "pagers.noc pagers.oncall status.webhooks.site" {
		t.Errorf("carriers() = %s, %v", names, err)
	}
	_, err = carriers(t.Context(), read("pagers:\n  oncall: { pagerduty: env:PD_MISSING }\n  noc: { webhook: https://h/, secret: env:NOC_MISSING }\n"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "pagers.oncall.pagerduty") || !strings.Contains(err.Error(), "pagers.noc.secret") {
		t.Errorf("without secrets: %v", err)
	}
}
