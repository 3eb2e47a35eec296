package slacksim_test

import (
	"testing"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// A slash command, a message with a button, an update, a modal: what slack-go
// needs to work at all.
func TestSlackGoStory(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	a := connect(t, s, func(a *app, e socketmode.Event) {
		switch data := e.Data.(type) {
		case slack.SlashCommand:
			a.ack(e, map[string]any{"text": "on it: " + data.Text})
			button := slack.NewButtonBlockElement("go", "v1", slack.NewTextBlockObject("plain_text", "Go", false, false))
			if _, _, err := a.PostMessage(data.ChannelID, slack.MsgOptionText("press go", false), slack.MsgOptionBlocks(
				slack.NewSectionBlock(slack.NewTextBlockObject("mrkdwn", "*press* go", false, false), nil, nil), slack.NewActionBlock("b1", button))); err != nil {
				t.Errorf("post: %v", err)
			}
		case slack.InteractionCallback:
			switch data.Type {
			case slack.InteractionTypeBlockActions:
				a.ack(e)
				if _, _, _, err := a.UpdateMessage(data.Channel.ID, data.Message.Timestamp, slack.MsgOptionText("gone "+data.ActionCallback.BlockActions[0].Value, false)); err != nil {
					t.Errorf("update: %v", err)
				}
				view := slack.ModalViewRequest{Type: "modal", CallbackID: "cb", Title: slack.NewTextBlockObject("plain_text", "Title", false, false),
					Submit: slack.NewTextBlockObject("plain_text", "Save", false, false),
					Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewInputBlock("title", slack.NewTextBlockObject("plain_text", "Name", false, false), nil,
						slack.NewPlainTextInputBlockElement(nil, "in"))}}}
				if _, err := a.OpenView(data.TriggerID, view); err != nil {
					t.Errorf("open: %v", err)
				}
			case slack.InteractionTypeViewSubmission:
				if v := data.View.State.Values["title"]["in"].Value; v != "good" {
					a.ack(e, slack.NewErrorsViewSubmissionResponse(map[string]string{"title": "not " + v}))
					return
				}
				a.ack(e)
			}
		default:
			a.ack(e)
		}
	})
	_ = a
	ann := s.As("ann")
	reply, err := ann.Slash("#ops", "/runbook cache-fix")
	if err != nil || reply.Text != "on it: cache-fix" || reply.For != ann.ID() {
		t.Fatalf("Slash() = %+v, %v", reply, err)
	}
	m := s.ExpectMessage(t, "#ops", "press", "Go")
	if err := ann.Click("#ops", m.TS, "Go"); err != nil {
		t.Fatal(err)
	}
	m = s.ExpectUpdate(t, ops, m.TS, "gone v1")
	if m.Blocks != nil {
		t.Errorf("blocks = %s after an update with text only", m.Blocks)
	}
	v := s.ExpectView(t, "ann", "cb")
	if err := ann.Submit(v.ID, nil); err == nil {
		t.Error("a required field could be left empty")
	}
	if err := ann.Submit(v.ID, map[string]map[string]any{"title": {"in": "bad"}}); err == nil || ann.Views()[0].Errors["title"] != "not bad" {
		t.Errorf("Submit(bad) = %v, views %+v", err, ann.Views())
	}
	if err := ann.Submit(v.ID, map[string]map[string]any{"title": {"in": "good"}}); err != nil || len(ann.Views()) != 0 {
		t.Errorf("Submit(good) = %v, views %+v", err, ann.Views())
	}
}
