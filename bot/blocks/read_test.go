package blocks_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

var ann = access.Actor{Kind: access.Person, Team: "T1", ID: "U1", Name: "ann", Via: "slack"}

func TestSlash(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "runbook",
		"cache-fix":                            "runbook cache-fix",
		"  cache-fix   env=demo ":              "runbook cache-fix   env=demo",
		"x owner=<@U2|ben> room=<#C9|ops>":     "runbook x owner=U2 room=C9",
		"x owner=<@U2>":                        "runbook x owner=U2",
		"x note=&lt;!channel&gt; &amp;amp;":    "runbook x note=<!channel> &amp;",
		"x u=<https://a.example/?a=1&amp;b=2>": "runbook x u=https://a.example/?a=1&b=2",
		"x h=<http://redis.local|redis.local>": "runbook x h=redis.local",
		"x m=<mailto:a@b.example|a@b.example>": "runbook x m=a@b.example",
		"x g=<!subteam^S1|@sre>":               "runbook x g=@sre",
		"x g=<!here>":                          "runbook x g=@here",
		"x broken=<@U2":                        "runbook x broken=<@U2",
	} {
		got := blocks.Slash(slack.SlashCommand{
			Command: "/runbook", Text: text, TeamID: "T1", UserID: "U1", UserName: "ann", ChannelID: "C1",
		}, "k")
		names := map[string]map[string]string{
			"x owner=<@U2|ben> room=<#C9|ops>": {"U2": "@ben", "C9": "#ops"},
			"x owner=<@U2>":                    {"U2": ""}, // for the worker to find out
		}[text]
		want := commands.Request{Key: "k", Actor: ann, Where: outbox.Conversation{Channel: "C1"}, Line: want, Names: names}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

func TestMention(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text, thread string
		want               commands.Request
	}{
		{"alone", "<@UBOT>", "", commands.Request{}},
		{"in a channel", "<@UBOT> runbook cache-fix", "", commands.Request{Line: "runbook cache-fix"}},
		{"with a label", "<@UBOT|opsbot> runbook", "", commands.Request{Line: "runbook"}},
		{"after a greeting", "hey <@UBOT>  runbook status R1", "", commands.Request{Line: "runbook status R1"}},
		{"behind a longer id", "<@UBOTTOM> and <@UBOT> runbook help", "", commands.Request{Line: "runbook help"}},
		{"in a thread", "<@UBOT> runbook stop R1", "1.000002", commands.Request{Line: "runbook stop R1", Where: outbox.Conversation{Thread: "1.000002"}}},
		{"on the parent itself", "<@UBOT> runbook", "1.000009", commands.Request{Line: "runbook"}},
		{"in a direct message, without one", "runbook help", "", commands.Request{Line: "runbook help"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Key, tt.want.Where.Channel, tt.want.Message = "k", "C1", "1.000009"
			tt.want.Actor = access.Actor{Kind: access.Person, Team: "T1", ID: "U1", Via: "slack"}
			got := blocks.Mention(tt.text, "C1", tt.thread, "U1", "T1", "1.000009", "UBOT", "k")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// click is a block_actions payload as Slack sends it for a button of ours.
func click(t *testing.T, button *slack.ButtonBlockElement, thread string) slack.InteractionCallback {
	t.Helper()
	payload := map[string]any{
		"type": "block_actions", "user": map[string]any{"id": "U1", "username": "ann", "name": "ann", "team_id": "T1"},
		"container": map[string]any{"type": "message", "message_ts": "1.000001", "channel_id": "C1", "is_ephemeral": false, "thread_ts": thread},
		"team":      map[string]any{"id": "T1", "domain": "acme"}, "channel": map[string]any{"id": "C1", "name": "ops"},
		"message": map[string]any{"type": "message", "ts": "1.000001", "text": "x"},
		"actions": []any{map[string]any{"type": "button", "action_id": button.ActionID, "block_id": "b", "value": button.Value, "action_ts": "1.2"}},
	}
	return callback(t, payload)
}

func callback(t *testing.T, payload any) slack.InteractionCallback {
	t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	var cb slack.InteractionCallback
	if err := json.Unmarshal(data, &cb); err != nil {
		t.Fatal(err)
	}
	return cb
}

// buttons lists what can be clicked in a message.
func buttons(m blocks.Message) (all []*slack.ButtonBlockElement) {
	for _, b := range m.Blocks {
		switch b := b.(type) {
		case *slack.ActionBlock:
			for _, e := range b.Elements.ElementSet {
				all = append(all, e.(*slack.ButtonBlockElement))
			}
		case *slack.SectionBlock:
			if b.Accessory != nil {
				all = append(all, b.Accessory.ButtonElement)
			}
		}
	}
	return all
}

// TestClick renders messages with buttons and reads the clicks on them back.
func TestClick(t *testing.T) {
	t.Parallel()
	where := outbox.Conversation{Channel: "C1"}
	decide := func(choice string) commands.Request {
		return commands.Request{Action: commands.ActionDecide, Subject: "appr-1", Values: map[string]string{commands.ValueChoice: choice}}
	}
	for _, tt := range []struct {
		name    string
		content outbox.Content
		want    []commands.Request
	}{
		{"an approval", outbox.Ask{Approval: "appr-1", Kind: "review", State: "open", Choices: []outbox.Choice{
			{ID: "approve", Label: "Approve", Style: "danger"}, {ID: "deny", Label: "Deny", Reason: true},
		}}, []commands.Request{decide("approve"), decide("deny")}},
		{"a decided approval", outbox.Ask{Approval: "appr-1", Kind: "review", State: "granted", Choices: []outbox.Choice{{ID: "approve", Label: "Approve"}}}, nil},
		{"an expired one", outbox.Ask{Approval: "appr-1", Kind: "review", State: "expired", Choices: []outbox.Choice{
			{ID: "approve", Label: "Approve"}, {ID: "again", Label: "Ask again"},
		}}, []commands.Request{decide("again")}},
		{"a run", outbox.RunCard{Run: "run-1", Number: 12, State: "failed", Stoppable: true, Offers: []outbox.Offer{
			{ID: "offer-1", Say: "Restart Redis"}, {ID: "offer-2", Say: "No", Why: "there is no database"}, {ID: "offer-3", Runbook: "db"},
		}}, []commands.Request{
			{Action: commands.ActionStop, Subject: "run-1"},
			{Action: commands.ActionOffer, Subject: "offer-1"}, {Action: commands.ActionOffer, Subject: "offer-3"},
			{Line: "incident from R12", Clicked: true},
		}},
		{"a list", outbox.Answer{Items: []outbox.Item{{Name: "a", Command: "runbook a", Label: "Run"}, {Name: "b"}, {Name: "c", Command: "runbook c"}}},
			[]commands.Request{{Line: "runbook a", Clicked: true}, {Line: "runbook c", Clicked: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []commands.Request
			for _, b := range buttons(blocks.Render(tt.content, noon)) {
				req, ok := blocks.Click(click(t, b, ""), "k")
				if !ok {
					t.Errorf("the click on %q is not understood", b.Text.Text)
				}
				got = append(got, req)
			}
			presser := ann
			presser.Message = "C1/1.000001"
			for i := range tt.want {
				tt.want[i].Key, tt.want[i].Actor, tt.want[i].Where = "k", presser, where
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClickInThread(t *testing.T) {
	t.Parallel()
	b := slack.NewButtonBlockElement("stop", "run-1", nil)
	for thread, want := range map[string]string{"": "", "0.000009": "0.000009", "1.000001": ""} {
		req, ok := blocks.Click(click(t, b, thread), "k")
		if !ok || req.Where.Thread != want {
			t.Errorf("thread %q: got %+v, %t", thread, req.Where, ok)
		}
	}
}

func TestForeignClicks(t *testing.T) {
	t.Parallel()
	for _, b := range []*slack.ButtonBlockElement{
		slack.NewButtonBlockElement("somebody-elses", "x", nil),
		slack.NewButtonBlockElement("stop", "", nil),
		slack.NewButtonBlockElement("", "", nil),
	} {
		if req, ok := blocks.Click(click(t, b, ""), "k"); ok {
			t.Errorf("action %q was understood as %+v", b.ActionID, req)
		}
	}
	for _, cb := range []slack.InteractionCallback{{}, {Type: slack.InteractionTypeBlockActions}, {Type: slack.InteractionTypeShortcut}} {
		if _, ok := blocks.Click(cb, "k"); ok {
			t.Errorf("understood %+v", cb)
		}
		if _, ok := blocks.Submission(cb, "k"); ok {
			t.Errorf("understood %+v as a form", cb)
		}
		if blocks.Check(cb) != nil {
			t.Errorf("found fault with %+v", cb)
		}
	}
}
