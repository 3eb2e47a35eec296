package blocks_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/commands"
	"opsbot/internal/outbox"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// submit is the view_submission of a form, filled in: by block_id, the entry
// as Slack's client puts it into the state.
func submit(t *testing.T, form commands.Form, entries map[string]map[string]any) slack.InteractionCallback {
	t.Helper()
	v := blocks.View(form)
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var view map[string]any
	if err := json.Unmarshal(data, &view); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, b := range view["blocks"].([]any) {
		block := b.(map[string]any)
		id, ok := block["block_id"].(string)
		if !ok {
			continue
		}
		e := block["element"].(map[string]any)
		entry := map[string]any{"type": e["type"], "value": nil}
		if given, ok := entries[id]; ok {
			entry = given
			entry["type"] = e["type"]
		}
		values[id] = map[string]any{e["action_id"].(string): entry}
	}
	view["id"], view["state"] = "V1", map[string]any{"values": values}
	return callback(t, map[string]any{
		"type": "view_submission", "team": map[string]any{"id": "T1"},
		"user": map[string]any{"id": "U1", "name": "ann", "team_id": "T1"}, "view": view,
	})
}

func text(s string) map[string]any { return map[string]any{"value": s} }

func option(s string) map[string]any {
	return map[string]any{"selected_option": map[string]any{"text": map[string]any{"type": "plain_text", "text": s}, "value": s}}
}

func TestSubmission(t *testing.T) {
	t.Parallel()
	form := commands.Form{
		Action: commands.ActionStart, Subject: "emergency-restart", Title: "Emergency restart", Submit: "Run",
		Fields: []outbox.Field{
			{Name: "env", Label: "Environment", Type: "enum", Values: []string{"demo", "production"}, Required: true},
			{Name: "service", Type: "service", Required: true},
			{Name: "replicas", Type: "int"}, {Name: "want", Type: "float"}, {Name: "window", Type: "duration"},
			{Name: "force", Type: "bool"}, {Name: "owner", Type: "user"}, {Name: "room", Type: "channel"},
			{Name: "since", Type: "time"}, {Name: "note", Type: "string", Long: true},
		},
		Keep:  map[string]string{commands.ValueDryRun: "true"},
		Where: outbox.Conversation{Channel: "C1", Thread: "1.000002"},
	}
	cb := submit(t, form, map[string]map[string]any{
		"env": option("demo"), "service": text("cache"), "replicas": text("2"), "want": text("0.5"), "window": text("1m30s"),
		"force": option("true"), "owner": {"selected_user": "U2"}, "room": {"selected_conversation": "C9"},
		"since": {"selected_date_time": 1795404540},
	})
	if wrong := blocks.Check(cb); wrong != nil {
		t.Errorf("found fault: %v", wrong)
	}
	got, ok := blocks.Submission(cb, "k")
	if !ok {
		t.Fatal("the submission is not understood")
	}
	want := commands.Request{
		Key: "k", Actor: ann, Where: form.Where, Action: form.Action, Subject: form.Subject,
		Values: map[string]string{
			"dry-run": "true", "env": "demo", "service": "cache", "replicas": "2", "want": "0.5", "window": "1m30s",
			"force": "true", "owner": "U2", "room": "C9", "since": "2026-11-23T03:29:00Z",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	form := commands.Form{
		Action: commands.ActionDecide, Subject: "appr-1", Title: "Confirm", Submit: "Confirm",
		Fields: []outbox.Field{
			{Name: commands.ValueTyped, Type: "string", Required: true},
			{Name: "count", Type: "int"}, {Name: "rate", Type: "float"}, {Name: "pause", Type: "duration"},
			{Name: "why", Type: "string", Required: true},
		},
		Must: map[string]string{commands.ValueTyped: "demo"},
	}
	for _, tt := range []struct {
		name    string
		entries map[string]map[string]any
		want    map[string]string
	}{
		{"nothing", nil, map[string]string{"typed": "Type exactly: demo", "why": "This is needed."}},
		{"right", map[string]map[string]any{"typed": text("demo"), "why": text("x"), "count": text("3"), "rate": text("1e3"), "pause": text("5m")}, nil},
		{"spaces around", map[string]map[string]any{"typed": text(" demo "), "why": text("x")}, nil},
		{"another case", map[string]map[string]any{"typed": text("Demo"), "why": text(" ")}, map[string]string{"typed": "Type exactly: demo", "why": "This is needed."}},
		{"malformed", map[string]map[string]any{"typed": text("demo"), "why": text("x"), "count": text("3.5"), "rate": text("NaN"), "pause": text("5 minutes")},
			map[string]string{"count": "Give a whole number.", "rate": "Give a number.", "pause": "Give a duration such as 30s, 5m or 1h30m."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, blocks.Check(submit(t, form, tt.entries))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A form whose memory does not fit cannot be sent: half of it would be
// another form.
func TestViewTooMuch(t *testing.T) {
	t.Parallel()
	v := blocks.View(commands.Form{
		Action: "start", Subject: string(make([]byte, 700)), Title: "Start", Submit: "Run",
		Fields: []outbox.Field{{Name: "x", Type: "string"}},
	})
	if v.Submit != nil || v.PrivateMetadata != "" || len(v.Blocks.BlockSet) != 1 {
		t.Errorf("the form can be sent: %+v", v)
	}
}

func FuzzView(f *testing.F) {
	f.Add("start", "cache-fix", "Title", "name", "enum", "a", "must")
	f.Add("", "", "", "", "time", "2026-11-23T03:00:00Z", "")
	f.Fuzz(func(t *testing.T, action, subject, title, name, kind, def, must string) {
		form := commands.Form{
			Action: action, Subject: subject, Title: title, Intro: subject, Submit: title,
			Fields: []outbox.Field{
				{Name: name, Label: title, Type: kind, Help: subject, Default: def},
				{Name: name + "2", Type: kind, Default: def, Values: []string{def, must}, Long: true},
			},
			Must: map[string]string{name: must}, Keep: map[string]string{title: def},
		}
		data, err := json.Marshal(blocks.View(form))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range check("view", data) {
			t.Error(w)
		}
	})
}

// FuzzRead feeds payloads as they come from the socket.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"type":"block_actions","actions":[{"type":"button","action_id":"decide:approve","value":"x"}]}`))
	f.Add([]byte(`{"type":"view_submission","view":{"callback_id":"opsbot_form","private_metadata":"{\"a\":\"x\"}","state":{"values":{"a":{"b":{"value":"c"}}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var cb slack.InteractionCallback
		if json.Unmarshal(data, &cb) != nil {
			return
		}
		blocks.Click(cb, "k")
		blocks.Submission(cb, "k")
		blocks.Check(cb)
	})
}

func FuzzMention(f *testing.F) {
	f.Add("hey <@UBOT> runbook <@U1|ann>", "UBOT")
	f.Fuzz(func(t *testing.T, text, bot string) {
		blocks.Mention(text, "C1", "", "U1", "T1", "1.1", bot, "k")
	})
}
