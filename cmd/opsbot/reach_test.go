package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/dispatch"
	"opsbot/internal/slacksim"
)

// An outside is a service that opsbot posts to, which answers as told.
type outside struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int // used up one by one; the last one stays
	answer   string
	got      []map[string]any
	signed   []bool
}

func newOutside(t *testing.T, secret, answer string, statuses ...int) *outside {
	t.Helper()
	o := &outside{statuses: statuses, answer: answer}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var read map[string]any
		if err := json.Unmarshal(body, &read); err != nil {
			t.Errorf("posted: %s", body)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.got = append(o.got, read)
		o.signed = append(o.signed, r.Header.Get("X-Opsbot-Signature") == dispatch.Sign(secret, r.Header.Get("X-Opsbot-Timestamp"), body))
		status := o.statuses[0]
		if len(o.statuses) > 1 {
			o.statuses = o.statuses[1:]
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, o.answer)
	}))
	t.Cleanup(o.Close)
	return o
}

// words are the values of a key in all that was posted.
func (o *outside) words(key string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []string
	for _, m := range o.got {
		list = append(list, fmt.Sprint(m[key]))
	}
	return strings.Join(list, " ")
}

// People outside of the room: who is paged, and what the public reads. Places
// that fail are tried again, and what is given up is seen.
func TestReach(t *testing.T) {
	t.Setenv("TEST_PAGERDUTY_KEY", "canary-0123456789abcdef01234567")
	t.Setenv("TEST_SITE_SECRET", "canary-site")
	duty := newOutside(t, "", `{"status":"success"}`, 500, 202)
	site := newOutside(t, "canary-site", `{"url":"https://status.example.com/1"}`, 503, 201)
	gone := newOutside(t, "", "", 410)
	h := newHouse(t)
	h.sim.AddChannel(slacksim.Channel{Name: "status", Members: []string{"ann", "opsbot"}})
	h.configure(fmt.Sprintf(`
http: { addr: "127.0.0.1:0" }
pagers:
  oncall: { pagerduty: env:TEST_PAGERDUTY_KEY, pagerduty_url: %q }
  noc: { webhook: %q }
status:
  title: Acme status
  channels: ["#status"]
  webhooks:
    site: { url: %q, secret: env:TEST_SITE_SECRET }
    old: { url: %q }
`, duty.URL, gone.URL, site.URL, gone.URL))
	h.serve()

	h.slash("ann", "/incident declare API down, password=hunter2")
	head := h.headline("INC-1", "API down")
	h.slash("ann", "/incident page nobody")
	h.find("UANN", "There is no pager nobody", "noc, oncall")
	h.slash("dan", "/incident page oncall the lead does not answer")
	h.seek(room, "UANN", "oncall was paged.")
	poll(t, "PagerDuty has it", func() bool { return duty.words("event_action") == "trigger trigger" })
	if p := fmt.Sprint(duty.got[1]["payload"]); !strings.Contains(p, "INC-1 SEV?: API down, password=***") || !strings.Contains(p, "the lead does not answer") || !strings.Contains(p, "severity:critical") || !strings.Contains(fmt.Sprint(duty.got[1]["links"]), ".slack.com/archives/") {
		t.Errorf("PagerDuty got %s", p)
	}
	h.slash("ann", "/incident page noc")
	h.seek(room, "UANN", "The page did not reach noc", "410 Gone", "Call them by other means.")

	// Accepting command stops the calling, for those that were reached.
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	poll(t, "it is acknowledged", func() bool { return strings.HasSuffix(duty.words("event_action"), " acknowledge") })

	h.mention("ann", head.TS, "update users Orders fail. We are looking into it.")
	poll(t, "the site has it", func() bool { return strings.Count(site.words("text"), "Orders fail.") == 2 }) // 503, then 201
	failed := h.seek(room, "UANN", "could not be published everywhere", "old: 127.0.0.1", "410 Gone")
	if !slices.Contains(site.signed, true) || slices.Contains(site.signed, false) {
		t.Errorf("signatures: %v", site.signed)
	}
	h.until("the channel has it", func() bool {
		return slices.ContainsFunc(h.sim.History("status", "ann"), func(m slacksim.Message) bool { return strings.Contains(m.Visible(), "Investigating: Orders fail.") })
	})
	_ = failed
	h.headline("INC-1", "⚠ The newest update to the users is *not published* in old")
	read := func(path string) string {
		res, err := http.Get(h.health() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || res.Header.Get("ETag") == "" {
			t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
		}
		return string(body)
	}
	poll(t, "the feed has it", func() bool {
		return strings.Contains(read("/status.json"), "Orders fail. We are looking into it.") && strings.Contains(read("/status.atom"), "Investigating: Orders fail (INC-1)")
	})
	if s := read("/status.json"); !strings.Contains(s, `"indicator": "critical"`) || strings.Contains(s, "API down") {
		t.Errorf("the feed says %s", s)
	}

	// What is published is what stands there: with its link, or not at all.
	if said := h.shown("INC-1"); !strings.Contains(said, "The update was published in #status. https://") {
		t.Errorf("the record has no link:\n%s", said)
	}
	h.sim.ArchiveChannel("status")
	h.mention("ann", head.TS, "update users We have found the cause.")
	h.seek(room, "UANN", "could not be published everywhere", "#status: opsbot cannot write to #status: it is archived.")
	h.headline("INC-1", "is *not published* in old, #status")
	if said := h.sim.History("ops", "UANN"); slices.ContainsFunc(said, func(m slacksim.Message) bool { return strings.Contains(m.Visible(), "We have found the cause.") }) {
		t.Error("what belongs into the channel stands in the ops channel")
	}

	h.mention("ann", head.TS, "resolve It was the index.")
	h.headline("INC-1", "Resolved")
	poll(t, "the page is resolved", func() bool { return strings.HasSuffix(duty.words("event_action"), " acknowledge resolve") })
	if n := strings.Count(duty.words("dedup_key"), " "); n != 3 || len(slices.Compact(strings.Fields(duty.words("dedup_key")))) != 1 {
		t.Errorf("dedup keys: %s", duty.words("dedup_key"))
	}
	if log := h.log.String() + h.transcript(); strings.Contains(log, "canary") {
		t.Errorf("a secret was told:\n%s", log)
	}
}

// What is learned from an incident: the post-mortem, its gate, the figures.
func TestPostmortem(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev1 API down")
	head := h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	h.mention("ann", head.TS, "postmortem")
	h.seek(room, "UANN", "a post-mortem is written once it is resolved")
	h.mention("ann", head.TS, "task Alert on sequential scans")
	h.seek(room, "UANN", "Task 1: Alert on sequential scans")
	h.mention("ann", head.TS, "resolve The index was lost.")
	h.headline("INC-1", "Resolved")
	h.press("ann", h.seek(room, "UANN", "drafted an update to the users", "It works again"), "Publish")
	h.seek(room, "UANN", "Update to the users (Resolved) by ann")

	h.mention("ben", head.TS, "postmortem")
	h.mention("ann", head.TS, "postmortem")
	prompt := h.seek(room, "UANN", "made from the record", "Still empty: Root cause, Prevention", "Tasks without an owner: 1")
	var file string
	h.until("the file is in the thread", func() bool {
		for _, m := range h.sim.Thread(room, head.TS, "UANN") {
			for _, f := range m.Files {
				file = string(f.Content)
			}
		}
		return file != ""
	})
	for _, want := range []string{"# Post-mortem of INC-1: API down", "The index was lost.", "| Severity | SEV1, critical |", "Alert on sequential scans | **nobody**", "## Timeline", "ann declared it as SEV1: API down"} {
		if !strings.Contains(file, want) {
			t.Errorf("the post-mortem lacks %q:\n%s", want, file)
		}
	}

	// Close tells what is missing; each is a click away.
	h.press("ann", prompt, "Close")
	h.seek(room, "UANN", "INC-1 cannot be closed yet", "Root cause", "An owner for task 1")
	h.press("ann", prompt, "Root cause")
	h.fill("ann", "A migration dropped the index.\n## Sneaky heading")
	prompt = h.seek(room, "UANN", "Still empty: Prevention.")
	h.press("ben", prompt, "Prevention")
	h.fill("ben", "Lint migrations.")
	h.seek(room, "UANN", "Everything that must be written is.")
	h.mention("ann", head.TS, "task 1 @ann by 2030-01-01")
	h.seek(room, "UANN", "made from the record", "Everything that must be written is.")
	poll(t, "it can be closed", func() bool {
		h.mention("ann", head.TS, "close")
		m, _ := h.sim.Message(room, head.TS)
		return strings.Contains(m.Visible(), "Closed")
	})

	h.mention("ann", head.TS, "export json")
	h.mention("ann", head.TS, "export md")
	var record map[string]any
	var text string
	h.until("both files are there", func() bool {
		for _, m := range h.sim.Thread(room, head.TS, "UANN") {
			for _, f := range m.Files {
				if f.Name == "INC-1.json" {
					if err := json.Unmarshal(f.Content, &record); err != nil {
						t.Fatal(err)
					}
				} else {
					text = string(f.Content)
				}
			}
		}
		return record != nil && strings.Contains(text, "Lint migrations.")
	})
	if record["state"] != "closed" || !strings.Contains(fmt.Sprint(record["postmortem"]), "Lint migrations.") || record["seconds"].(map[string]any)["ttr"] == nil {
		t.Errorf("exported: %v", record)
	}
	if !strings.Contains(text, "A migration dropped the index.\n### Sneaky heading") || !strings.Contains(text, "| Alert on sequential scans | ann | 2030-01-01 |") {
		t.Errorf("the Markdown reads\n%s", text)
	}

	h.slash("ann", "/incident stats 4w")
	h.find("UANN", "Incidents, last 4 weeks", "Time to resolve (TTR)", "SEV1")
	h.until("there is a picture", func() bool {
		for _, f := range h.sim.Files() {
			if f.Name == "incidents.png" && f.Complete {
				img, err := png.Decode(bytes.NewReader(f.Content))
				if err != nil || img.Bounds().Dx() < 600 {
					t.Errorf("the picture: %v", err)
				}
				return true
			}
		}
		return false
	})
	// At a terminal, too.
	if code, out, errs := h.opsbot("", "incidents", "stats"); code != exitWell || !strings.Contains(out, "Time to resolve (TTR)") {
		t.Errorf("stats exits with %d: %s%s", code, out, errs)
	}
	if code, out, errs := h.opsbot("", "incidents", "export", "INC-1"); code != exitWell || !strings.Contains(out, "Lint migrations.") {
		t.Errorf("export exits with %d: %s%s", code, out, errs)
	}
	draft := filepath.Join(t.TempDir(), "draft.md")
	upload := func(text string) (int, string) {
		t.Helper()
		if err := os.WriteFile(draft, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := h.opsbot("", "incidents", "upload", "INC-1", draft)
		return code, out + errs
	}
	if code, said := upload(strings.Replace(text, "Lint migrations.", "Lint and review migrations.", 1) + "\n## Costs\n\nNone.\n"); code != exitWell || !strings.Contains(said, "is saved") {
		t.Errorf("upload exits with %d: %s", code, said)
	}
	if code, said := upload("# INC-2\n"); code == exitWell || !strings.Contains(said, "does not name INC-1") {
		t.Errorf("upload of another's exits with %d: %s", code, said)
	}
	if _, out, _ := h.opsbot("", "incidents", "export", "INC-1"); !strings.Contains(out, "Lint and review migrations.") || !strings.Contains(out, "## Costs\n\nNone.") {
		t.Errorf("after the upload:\n%s", out)
	}
	if code, out, _ := h.opsbot("", "incidents", "stats", "--output", "json"); code != exitWell || !strings.Contains(out, `"median_seconds"`) {
		t.Errorf("stats exits with %d: %s", code, out)
	}
	if code, _, errs := h.opsbot("", "incidents", "stats", "--days", "0"); code != exitUsage {
		t.Errorf("stats of no days exits with %d: %s", code, errs)
	}
	h.slash("ann", "/incident stats soon")
	h.find("UANN", "is no length of time")
	h.noDefects()
}

// What a person sees on the app's own page.
func TestHome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	home := func(person string, texts ...string) {
		t.Helper()
		h.until(fmt.Sprintf("%s's page shows %q", person, texts), func() bool {
			return shows(slacksim.Message{Blocks: h.sim.As(person).Home().Blocks}, texts)
		})
	}
	if _, err := h.sim.As("ann").OpenHome(); err != nil {
		t.Fatal(err)
	}
	home("ann", "Open incidents", "None. Quiet is good.", "Waiting for you", "Nothing.", "Runs in progress")

	// Its buttons work: a form, a list, and an answer as a direct message.
	press := func(person, label string) {
		t.Helper()
		if err := h.sim.As(person).ClickView(h.sim.As(person).Home().ID, label); err != nil {
			t.Fatalf("%s presses %q: %v", person, label, err)
		}
	}
	press("ann", "Declare an incident")
	h.fill("ann", "API down")
	head := h.headline("INC-1", "API down")
	h.mention("ann", head.TS, "task Alert on it @ben by 2030-01-01")
	h.mention("ann", head.TS, "comms @cleo")
	h.press("cleo", h.seek(room, "UCLEO", "asks you to be communications lead"), "Accept")
	h.headline("INC-1", "<@UCLEO>")
	h.slash("ann", "/runbook cache-fix env=demo")
	h.find("UANN", "Cache")
	press("ann", "Refresh")
	home("ann", "INC-1 API down", "next update: teams ", "Be commander of INC-1?", "Cache")
	if _, err := h.sim.As("ben").OpenHome(); err != nil {
		t.Fatal(err)
	}
	home("ben", "INC-1, task 1: Alert on it", "due 2030-01-01")
	if _, err := h.sim.As("cleo").OpenHome(); err != nil {
		t.Fatal(err)
	}
	home("cleo", "Update to the teams of INC-1")
	press("cleo", "line:0") // Show, of the incident
	h.until("the answer is a direct message", func() bool {
		return slices.ContainsFunc(h.sim.History("@opsbot", "cleo"), func(m slacksim.Message) bool { return strings.Contains(m.Visible(), "INC-1 · SEV?") })
	})
	h.noDefects()
}

// An installation that is older than the program lacks scopes, or events:
// doctor and the start say which, and what to do.
func TestScopesMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	code, out, _ := h.opsbot("", "doctor")
	if code != exitWell || !strings.Contains(out, "the app has all scopes") {
		t.Errorf("doctor exits with %d and prints\n%s", code, out)
	}
	h.sim.RemoveScope("pins:write")
	h.sim.RemoveScope("channels:manage")
	code, out, _ = h.opsbot("", "doctor")
	if code != exitFailed || !strings.Contains(out, "BAD") || !strings.Contains(out, "lacks the scopes channels:manage, pins:write") || !strings.Contains(out, "install the app again") {
		t.Errorf("doctor exits with %d and prints\n%s", code, out)
	}
	if code, _, errs := h.opsbot("", "serve"); code == exitWell || !strings.Contains(errs, "lacks the scopes channels:manage, pins:write") {
		t.Errorf("serve exits with %d and prints\n%s", code, errs)
	}
}

func TestEventsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.edit("slack:\n", "slack:\n  config_token: file:config-token\n")
	if err := os.WriteFile(h.path("config-token"), []byte(h.sim.ConfigToken()), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := h.opsbot("", "doctor"); code != exitWell || !strings.Contains(out, "the app has everything") {
		t.Errorf("doctor exits with %d and prints\n%s", code, out)
	}
	h.sim.RemoveEvent("pin_added")
	const want = "The Slack app lacks the event pin_added."
	if code, out, _ := h.opsbot("", "doctor"); code != exitFailed || !strings.Contains(out, "BAD") || !strings.Contains(out, want) {
		t.Errorf("doctor exits with %d and prints\n%s", code, out)
	}
	if code, _, errs := h.opsbot("", "serve"); code == exitWell || !strings.Contains(errs, want) {
		t.Errorf("serve exits with %d and prints\n%s", code, errs)
	}
}
