package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"opsbot/bot/blocks"
	"opsbot/internal/slacksim"
)

// Every kind of message and view that the bot can send passes the simulator's
// blocks.validate, which knows Slack's rules from Slack's reference and not
// from the bot.
func TestEverySampleIsValid(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(t)
	samples := blocks.Corpus()
	if len(samples) < 20 {
		t.Fatalf("there are only %d samples", len(samples))
	}
	for _, s := range samples {
		if got := validate(t, sim, s.Kind, string(s.JSON)); got != "" {
			t.Errorf("%s.%s: %s", s.Name, s.Kind, got)
		}
	}
	// A check that cannot fail is none.
	for kind, bad := range map[string]string{
		"message": `{"text":"x","blocks":[{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("x", 151) + `"}}]}`,
		"view":    `{"type":"modal","title":{"type":"plain_text","text":"` + strings.Repeat("x", 25) + `"},"blocks":[]}`,
	} {
		if validate(t, sim, kind, bad) == "" {
			t.Errorf("a bad %s is taken", kind)
		}
	}
}

// validate returns what is wrong, "" for nothing.
func validate(t *testing.T, sim *slacksim.Server, kind, content string) string {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/blocks.validate", strings.NewReader(url.Values{kind: {content}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, req)
	var answer struct{ OK bool }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("blocks.validate answers no JSON: %v\n%s", err, w.Body)
	}
	if answer.OK {
		return ""
	}
	return w.Body.String()
}
