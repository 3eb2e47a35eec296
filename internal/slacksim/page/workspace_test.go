package page_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"go.uber.org/goleak"

	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A workspace is a simulator with its page, four people and two channels.
type workspace struct {
	sim                 *slacksim.Server
	url                 string
	ann, ben, cleo, dan slacksim.User
	general, ops        slacksim.Channel
	api                 *slack.Client
}

func open(t *testing.T, opts page.Options) *workspace {
	t.Helper()
	sim, err := slacksim.Open(slacksim.Options{NoRateLimit: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{sim: sim}
	w.ann = sim.AddUser(slacksim.User{Name: "ann", RealName: "Ann Lee"})
	w.ben = sim.AddUser(slacksim.User{Name: "ben", RealName: "Ben Okafor"})
	w.cleo = sim.AddUser(slacksim.User{Name: "cleo", RealName: "Cleo Martin"})
	w.dan = sim.AddUser(slacksim.User{Name: "dan", RealName: "Dan Weber"})
	all := []string{"ann", "ben", "cleo", "dan", sim.BotUserID()}
	sim.AddChannel(slacksim.Channel{Name: "incident-response", Topic: "Alerts and what we do about them", Members: all})
	w.ops = sim.AddChannel(slacksim.Channel{Name: "ops", Topic: "Day to day operations", Members: all})
	w.general, _ = sim.Channel("#general")
	if opts.Start == "" {
		opts.Start = "ops"
	}
	if opts.Zone == nil {
		opts.Zone = time.UTC
	}
	opts.Title = "Acme"
	opts.Roles = map[string]string{"ann": "on call", "ben": "SRE", w.cleo.ID: "SRE", "dan": "no rights here"}
	streams, stop := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(page.Beside(sim, page.New(sim, opts)))
	server.Config.BaseContext = func(net.Listener) context.Context { return streams }
	server.Start()
	w.url = server.URL
	sim.SetURL(server.URL)
	t.Cleanup(func() {
		stop()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	w.api = slack.New(sim.BotToken(), slack.OptionAPIURL(sim.APIURL()), slack.OptionAppLevelToken(sim.AppToken()))
	return w
}

// post posts as the app; blocks are JSON.
func (w *workspace) post(t *testing.T, channel, text, blocks string, more ...slack.MsgOption) string {
	t.Helper()
	opts := append([]slack.MsgOption{slack.MsgOptionText(text, false)}, more...)
	if blocks != "" {
		var b slack.Blocks
		if err := json.Unmarshal([]byte(blocks), &b); err != nil {
			t.Fatal(err)
		}
		opts = append(opts, slack.MsgOptionBlocks(b.BlockSet...))
	}
	_, ts, err := w.api.PostMessage(channel, opts...)
	if err != nil {
		t.Fatalf("post %q: %v", text, err)
	}
	return ts
}

const runCard = `[
 {"type":"section","block_id":"head","text":{"type":"mrkdwn","text":"*Cache troubleshooting* · demo · R12"}},
 {"type":"section","block_id":"steps","text":{"type":"mrkdwn","text":"✅ *1. Is Redis well?* master, 62.9 MB of 64 MB used, 14 clients\n⚠️ *2. How low is the hit rate now?* 3.1 % of 412 lookups in 30s\n✅ *3. Whose keys are in there?* 41,220 of 41,260 keys under ` + "`prod_*`" + `\n⏳ *4. Clear our keys* waiting for 1 review\n⚪ 5. Warm the cache\n⚪ 6. Watch the hit rate rise\n⚪ 7. Escalate"}},
 {"type":"context","block_id":"context","elements":[{"type":"mrkdwn","text":"Waiting for a review by SRE · 14 min left · started at 07:00"}]},
 {"type":"actions","block_id":"actions","elements":[{"type":"button","action_id":"stop","text":{"type":"plain_text","text":"Stop"},"value":"R12","style":"danger","confirm":{"title":{"type":"plain_text","text":"Stop R12?"},"text":{"type":"plain_text","text":"The step under way ends first; nothing is undone."},"confirm":{"type":"plain_text","text":"Stop the run"},"deny":{"type":"plain_text","text":"Keep running"},"style":"danger"}},{"type":"button","action_id":"deaf","text":{"type":"plain_text","text":"Details"},"value":"R12"}]}
]`

const askCard = `[
 {"type":"header","block_id":"head","text":{"type":"plain_text","text":"Review wanted: Clear our keys"}},
 {"type":"section","block_id":"facts","text":{"type":"mrkdwn","text":"Remove up to 41,220 of 41,260 keys?"},"fields":[{"type":"mrkdwn","text":"*Environment*\ndemo"},{"type":"mrkdwn","text":"*Target*\ncache (redis 127.0.0.1:41237/0)"},{"type":"mrkdwn","text":"*Pattern*\n` + "`prod_*`" + `"},{"type":"mrkdwn","text":"*Types*\nstring"}]},
 {"type":"section","block_id":"impact","text":{"type":"mrkdwn","text":"• 41,220 values go; lookups miss until the cache is warm again.\n• Queues, locks and sessions stay: 40 keys of other kinds.\n• Nothing brings the values back."}},
 {"type":"context","block_id":"votes","elements":[{"type":"mrkdwn","text":"0 of 1 approvals · who may: sre, not the starter · cache-fix.md:62 · digest a1b2c3"}]},
 {"type":"actions","block_id":"actions","elements":[{"type":"button","action_id":"ask:approve","style":"primary","value":"A1","text":{"type":"plain_text","text":"Approve"}},{"type":"button","action_id":"deny","style":"danger","value":"A1","text":{"type":"plain_text","text":"Deny"}}]}
]`

const confirmView = `{"type":"modal","callback_id":"confirm","title":{"type":"plain_text","text":"Clear our keys"},"submit":{"type":"plain_text","text":"Confirm"},"close":{"type":"plain_text","text":"Cancel"},"blocks":[
 {"type":"section","block_id":"what","text":{"type":"mrkdwn","text":"Removes up to *41,220* of 41,260 keys from *cache* on *demo*."}},
 {"type":"input","block_id":"phrase","label":{"type":"plain_text","text":"Type demo to confirm"},"hint":{"type":"plain_text","text":"The environment's name, as written above."},"element":{"type":"plain_text_input","action_id":"phrase"}},
 {"type":"input","block_id":"why","optional":true,"label":{"type":"plain_text","text":"Why"},"element":{"type":"plain_text_input","action_id":"why","multiline":true}},
 {"type":"input","block_id":"checks","optional":true,"label":{"type":"plain_text","text":"Checked"},"element":{"type":"checkboxes","action_id":"checks","options":[{"text":{"type":"plain_text","text":"No deployment under way"},"value":"deploy"},{"text":{"type":"plain_text","text":"The API is up"},"value":"api"}]}}
]}`

// app connects a small app over Socket Mode: /runbook posts the cards, Approve
// opens the form, Stop replaces the card, Details is never acknowledged.
func (w *workspace) app(t *testing.T) {
	t.Helper()
	client := socketmode.New(w.api)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-client.Events:
				w.handle(t, client, e)
			}
		}
	}()
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = client.RunContext(ctx) // ends with the context
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		<-ran
		http.DefaultClient.CloseIdleConnections()
	})
	until(t, "the app is connected", func() bool { return w.sim.Connected() == 1 })
}

func (w *workspace) handle(t *testing.T, client *socketmode.Client, e socketmode.Event) {
	check := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	switch data := e.Data.(type) {
	case slack.SlashCommand:
		switch data.Text {
		case "":
			check("ack", client.Ack(*e.Request, map[string]any{"text": "*Runbooks*\n• `cache-fix` Cache troubleshooting"}))
		default:
			check("ack", client.Ack(*e.Request))
			run := w.post(t, data.ChannelID, "R12 Cache troubleshooting on demo: step 4 of 7 waits for a review", runCard)
			w.post(t, data.ChannelID, "<@"+data.UserID+"> started R12.", "", slack.MsgOptionTS(run))
			w.post(t, data.ChannelID, "Output of step 1:\n```role:master\nused_memory:62914560\nmaxmemory_policy:noeviction\naof_last_bgrewrite_status:ok and_a_very_long_line_without_any_break_that_must_wrap_somewhere```", "", slack.MsgOptionTS(run))
			w.post(t, data.ChannelID, "Review wanted: Clear our keys", askCard)
		}
	case slack.InteractionCallback:
		if data.Type == slack.InteractionTypeViewSubmission {
			if data.View.State.Values["phrase"]["phrase"].Value != "demo" {
				check("ack", client.Ack(*e.Request, map[string]any{"response_action": "errors", "errors": map[string]string{"phrase": "That is not demo."}}))
				return
			}
			check("ack", client.Ack(*e.Request))
			var checks []string
			for _, o := range data.View.State.Values["checks"]["checks"].SelectedOptions {
				checks = append(checks, o.Value)
			}
			w.post(t, w.ops.ID, "confirmed: "+data.View.State.Values["why"]["why"].Value+" "+strings.Join(checks, ","), "")
			return
		}
		if data.Type == slack.InteractionTypeBlockSuggestion {
			check("ack", client.Ack(*e.Request, map[string]any{"options": []any{
				map[string]any{"text": map[string]any{"type": "plain_text", "text": "redis for " + data.Value}, "value": "redis"},
			}}))
			return
		}
		if data.Type != slack.InteractionTypeBlockActions {
			check("ack", client.Ack(*e.Request))
			return
		}
		switch data.ActionCallback.BlockActions[0].ActionID {
		case "deaf": // never acknowledged
		case "ask:approve":
			check("ack", client.Ack(*e.Request))
			var view slack.ModalViewRequest
			check("read the view", json.Unmarshal([]byte(confirmView), &view))
			_, err := w.api.OpenView(data.TriggerID, view)
			check("open the view", err)
		case "stop":
			check("ack", client.Ack(*e.Request))
			_, _, _, err := w.api.UpdateMessage(data.Channel.ID, data.Message.Timestamp, slack.MsgOptionText("R12 was stopped by <@"+data.User.ID+">", false))
			check("update", err)
		default:
			check("ack", client.Ack(*e.Request))
			a := data.ActionCallback.BlockActions[0]
			chosen := []string{a.Value, a.SelectedOption.Value, a.SelectedDate, a.SelectedTime, a.SelectedUser, a.SelectedChannel}
			for _, o := range a.SelectedOptions {
				chosen = append(chosen, o.Value)
			}
			w.post(t, w.ops.ID, a.ActionID+" = "+strings.Join(strings.Fields(strings.Join(chosen, " ")), " "), "")
		}
	default:
		if e.Request != nil && e.Request.EnvelopeID != "" {
			check("ack", client.Ack(*e.Request))
		}
	}
}

// until polls for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
