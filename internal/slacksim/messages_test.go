package slacksim_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
)

// A refusalRow is one call and the error that Slack answers.
type refusalRow struct {
	rule, method string
	args         []string
	want         string // empty: it goes well
}

func checkRefusals(t *testing.T, s *slacksim.Server, rows []refusalRow) {
	t.Helper()
	for _, row := range rows {
		if a := form(t, s, row.method, row.args...); a.err() != row.want || a.body["ok"] != (row.want == "") {
			t.Errorf("%s: %s %q: %s, want error %q", row.rule, row.method, row.args, a.text, row.want)
		}
	}
}

func TestPostRefusals(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{NoRateLimit: true})
	s.IgnoreRest()
	s.AddChannel(slacksim.Channel{Name: "old", Archived: true, Members: []string{"opsbot"}})
	ops, old, quiet := channelID(t, s, "ops"), channelID(t, s, "old"), channelID(t, s, "quiet")
	checkRefusals(t, s, []refusalRow{
		{"rule 62: A", "chat.postMessage", []string{"channel", ops}, "no_text"},
		{"rule 62: A", "chat.postMessage", []string{"channel", ops, "text", "", "blocks", "[]"}, "no_text"},
		{"rule 62: A", "chat.postEphemeral", []string{"channel", ops, "user", userID(t, s, "ann")}, "no_text"},
		{"rule 63: A,D", "chat.postMessage", []string{"channel", quiet, "text", "x"}, ""},
		{"rule 63: A,D", "chat.postMessage", []string{"channel", channelID(t, s, "hidden"), "text", "x"}, "channel_not_found"},
		{"rule 63: A,D", "chat.postMessage", []string{"channel", "C404", "text", "x"}, "channel_not_found"},
		{"rule 64: A", "chat.postMessage", []string{"channel", old, "text", "x"}, "is_archived"},
		{"reference", "chat.postMessage", []string{"text", "x"}, "invalid_arguments"},
		{"reference", "chat.postMessage", []string{"channel", ops, "text", "x", "markdown_text", "y"}, "markdown_text_conflict"},
		{"reference", "chat.postMessage", []string{"channel", ops, "markdown_text", "# y"}, ""},
		{"reference", "chat.postMessage", []string{"channel", ops, "text", "x", "metadata", "words"}, "invalid_metadata_format"},
		{"reference", "chat.postMessage", []string{"channel", ops, "text", "x", "metadata", `{"event_type":"t"}`}, "invalid_metadata_schema"},
		{"reference", "chat.postMessage", []string{"channel", ops, "text", "x", "metadata", `{"event_type":"t","event_payload":{"a":"` + strings.Repeat("x", 20000) + `"}}`}, "metadata_too_large"},
		{"reference", "chat.postMessage", []string{"channel", ops, "text", "x", "thread_ts", "1.000001"}, "cannot_reply_to_message"},
		{"reference", "chat.postMessage", []string{"channel", ops, "attachments", "[" + strings.Repeat(`{"text":"a"},`, 100) + `{"text":"a"}]`}, "too_many_attachments"},
		{"reference", "chat.postMessage", []string{"channel", ops, "attachments", `[{"text":"a"}]`}, ""},
		{"§3.5", "chat.postMessage", []string{"channel", ops, "attachments", `[{"blocks":[{"type":"header"}]}]`}, "invalid_attachments"},
		{"rule 71: A", "chat.postEphemeral", []string{"channel", ops, "user", userID(t, s, "cleo"), "text", "x"}, "user_not_in_channel"},
		{"§3.1", "chat.postEphemeral", []string{"channel", ops, "user", userID(t, s, "ann"), "text", strings.Repeat("x", 40001)}, "msg_too_long"},
		{"reference", "chat.getPermalink", []string{"channel", ops, "message_ts", "1.000001"}, "message_not_found"},
	})
	s.RemoveScope("chat:write.public")
	checkRefusals(t, s, []refusalRow{
		{"rule 63: A,D", "chat.postMessage", []string{"channel", quiet, "text", "x"}, "not_in_channel"},
		{"rule 63: A,D", "chat.postEphemeral", []string{"channel", quiet, "user", userID(t, s, "ann"), "text", "x"}, "not_in_channel"},
	})
	const noTab = `{"display_information":{"name":"x"},"features":{"app_home":{"messages_tab_enabled":false}},"oauth_config":{"scopes":{"bot":["chat:write"]}}}`
	s = workspace(t, slacksim.Options{Manifest: []byte(noTab)})
	checkRefusals(t, s, []refusalRow{{"reference", "chat.postMessage", []string{"channel", userID(t, s, "ann"), "text", "x"}, "messages_tab_disabled"}})
}

// rule 65: A,D. A user ID posts to their direct messages and the answer has the
// D ID; chat.update wants that.
func TestDirectMessages(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ann := userID(t, s, "ann")
	channel, ts, err := client(s).PostMessageContext(soon(t), ann, slack.MsgOptionText("psst", false))
	if err != nil || !strings.HasPrefix(channel, "D") {
		t.Fatalf("PostMessage() = %q, %v", channel, err)
	}
	s.ExpectMessage(t, "@ann", "psst")
	if _, _, _, err := client(s).UpdateMessageContext(soon(t), ann, ts, slack.MsgOptionText("x", false)); refused(err) != "channel_not_found" {
		t.Errorf("UpdateMessage(U…) = %v", err)
	}
	if _, _, _, err := client(s).UpdateMessageContext(soon(t), channel, ts, slack.MsgOptionText("x", false)); err != nil {
		t.Errorf("UpdateMessage(D…) = %v", err)
	}
	if h := s.History("@opsbot", "ann"); len(h) != 1 || h[0].Text != "x" || !h[0].Edited {
		t.Errorf("history = %+v", h)
	}
}

// rule 66: D. 40,001 characters are cut, with a warning.
// rule 67: A. An update takes no more than 4,000.
func TestTextLimits(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	a := form(t, s, "chat.postMessage", "channel", ops, "text", strings.Repeat("ä", 40001))
	if a.body["ok"] != true || a.str("warning") != "message_truncated" || len([]rune(a.str("message.text"))) != 40000 || !strings.Contains(a.messages(), "[WARN] Your message was truncated") {
		t.Errorf("40,001: %.300s", a.text)
	}
	s.ExpectMessage(t, "#ops", "ää")
	a = form(t, s, "chat.postMessage", "channel", ops, "text", strings.Repeat("ä", 40000))
	if a.str("warning") != "" {
		t.Errorf("40,000: %.300s", a.text)
	}
	s.ExpectMessage(t, "#ops", "ää")
	checkRefusals(t, s, []refusalRow{
		{"rule 67: A", "chat.update", []string{"channel", ops, "ts", a.str("ts"), "text", strings.Repeat("ä", 4001)}, "msg_too_long"},
		{"rule 67: A", "chat.update", []string{"channel", ops, "ts", a.str("ts"), "text", strings.Repeat("ä", 4000)}, ""},
	})
}

const section = `[{"type":"section","block_id":"s","text":{"type":"mrkdwn","text":"hello"}}]`

// rule 68: A. What an update leaves out: text alone removes blocks, blocks
// alone keep the old text, an empty list removes them, metadata stays.
func TestUpdateKeepsAndRemoves(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	ts := post(t, s, ops, section, "metadata", `{"event_type":"run","event_payload":{"id":"1"}}`)
	update := func(args ...string) slacksim.Message {
		t.Helper()
		if a := form(t, s, "chat.update", append([]string{"channel", ops, "ts", ts}, args...)...); a.body["ok"] != true {
			t.Fatalf("update %q: %s", args, a.text)
		}
		m, _ := s.Message(ops, ts)
		return m
	}
	if m := update("blocks", goButton); m.Text != "fallback" || !strings.Contains(string(m.Blocks), "go") || m.Edited || m.Metadata == nil {
		t.Errorf("blocks alone: %+v", m)
	}
	if m := update("text", "words"); m.Text != "words" || m.Blocks != nil || !m.Edited || m.Metadata == nil {
		t.Errorf("text alone: %+v", m)
	}
	update("text", "both", "blocks", section)
	if m := update("blocks", "[]"); m.Text != "both" || m.Blocks != nil {
		t.Errorf("no blocks: %+v", m)
	}
	if m := update("text", "x", "metadata", "{}"); m.Metadata != nil {
		t.Errorf("no metadata: %+v", m)
	}
}

// rule 64: A. Updating in an archived channel is is_inactive.
// rule 69: A. Others' and ephemeral messages cannot be updated.
// rule 70: A. Nor deleted ones.
func TestUpdateRefusals(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	theirs := say(t, s, "ann", "#ops", "hello").TS
	eph := form(t, s, "chat.postEphemeral", "channel", ops, "user", userID(t, s, "ann"), "text", "psst").str("message_ts")
	s.ExpectEphemeral(t, "#ops", "ann", "psst")
	gone := post(t, s, ops, section)
	rich := post(t, s, ops, `[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"rich"}]}]}]`)
	ours := post(t, s, ops, section)
	checkRefusals(t, s, []refusalRow{
		{"rule 69: A", "chat.update", []string{"channel", ops, "ts", theirs, "text", "x"}, "cant_update_message"},
		{"rule 69: A", "chat.update", []string{"channel", ops, "ts", eph, "text", "x"}, "cant_update_message"},
		{"rule 69: A", "chat.delete", []string{"channel", ops, "ts", theirs}, "cant_delete_message"},
		{"rule 69: A", "chat.delete", []string{"channel", ops, "ts", eph}, "cant_delete_message"},
		{"rule 70: A", "chat.delete", []string{"channel", ops, "ts", gone}, ""},
		{"rule 70: A", "chat.update", []string{"channel", ops, "ts", gone, "text", "x"}, "message_not_found"},
		{"rule 70: A", "chat.delete", []string{"channel", ops, "ts", gone}, "message_not_found"},
		{"reference", "chat.update", []string{"channel", ops, "ts", rich, "text", "x", "blocks", section}, "block_mismatch"},
		{"reference", "chat.update", []string{"channel", ops, "ts", ours}, "no_text"},
	})
	s.ArchiveChannel("ops")
	checkRefusals(t, s, []refusalRow{{"rule 64: A", "chat.update", []string{"channel", ops, "ts", ours, "text", "x"}, "is_inactive"}})
}

// rule 71: A. An ephemeral message answers just message_ts and is in nobody
// else's history.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	a := form(t, s, "chat.postEphemeral", "channel", ops, "user", userID(t, s, "ann"), "text", "psst")
	if len(a.body) != 2 || a.str("message_ts") == "" {
		t.Errorf("answer = %s", a.text)
	}
	s.ExpectEphemeral(t, "#ops", "ann", "psst")
	if len(s.History("#ops", "ann")) != 1 || len(s.History("#ops", "ben")) != 0 {
		t.Error("not just ann sees it")
	}
	h, err := client(s).GetConversationHistoryContext(soon(t), &slack.GetConversationHistoryParameters{ChannelID: ops})
	if err != nil || len(h.Messages) != 0 {
		t.Errorf("history = %+v, %v", h, err)
	}
	checkRefusals(t, s, []refusalRow{{"rule 71: A", "reactions.add", []string{"channel", ops, "timestamp", a.str("message_ts"), "name", "eyes"}, "message_not_found"}})
}

// rule 72: A. A reply's ts as thread_ts works, but is flagged: a test fails.
// rule 73: D. History is newest first without replies unless broadcast; a
// thread is its parent, then the replies, oldest first.
func TestThreads(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	s.IgnoreRest()
	ops := channelID(t, s, "ops")
	api := client(s)
	parent := say(t, s, "ann", "#ops", "parent").TS
	reply := func(text, to string, more ...slack.MsgOption) string {
		t.Helper()
		_, ts, err := api.PostMessageContext(soon(t), ops, append(more, slack.MsgOptionText(text, false), slack.MsgOptionTS(to))...)
		if err != nil {
			t.Fatal(err)
		}
		return ts
	}
	first := reply("first", parent)
	second := reply("second", first)
	third := reply("third", parent, slack.MsgOptionBroadcast())
	if m, _ := s.Message(ops, second); m.ThreadTS != parent || len(m.Flags) != 1 {
		t.Errorf("reply to a reply = %+v", m)
	}
	strict := workspace(t)
	own := say(t, strict, "ann", "#ops", "parent").TS
	id := channelID(t, strict, "ops")
	inner := form(t, strict, "chat.postMessage", "channel", id, "text", "one", "thread_ts", own).str("ts")
	form(t, strict, "chat.postMessage", "channel", id, "text", "two", "thread_ts", inner)
	if u := strings.Join(strict.Unexpected(), "\n"); !strings.Contains(u, "is a reply's, not the parent's") {
		t.Errorf("Unexpected() = %q", u)
	}
	strict.IgnoreRest()

	h, err := api.GetConversationHistoryContext(soon(t), &slack.GetConversationHistoryParameters{ChannelID: ops})
	if err != nil || len(h.Messages) != 2 || h.Messages[0].Timestamp != third || h.Messages[1].Timestamp != parent || h.Messages[1].ReplyCount != 3 {
		t.Errorf("history = %+v, %v", h, err)
	}
	msgs, _, _, err := api.GetConversationRepliesContext(soon(t), &slack.GetConversationRepliesParameters{ChannelID: ops, Timestamp: parent})
	if err != nil || len(msgs) != 4 {
		t.Fatalf("replies = %+v, %v", msgs, err)
	}
	for i, want := range []string{parent, first, second, third} {
		if msgs[i].Timestamp != want {
			t.Errorf("reply %d is %q", i, msgs[i].Text)
		}
	}
	if got := s.Thread("#ops", parent, "ben"); len(got) != 4 {
		t.Errorf("Thread() = %d messages", len(got))
	}
	link, err := api.GetPermalinkContext(soon(t), &slack.PermalinkParameters{Channel: ops, Ts: first})
	want := "https://acme.slack.com/archives/" + ops + "/p" + strings.ReplaceAll(first, ".", "") + "?thread_ts=" + parent + "&cid=" + ops
	if err != nil || link != want {
		t.Errorf("GetPermalink() = %q, %v", link, err)
	}
	checkRefusals(t, s, []refusalRow{
		{"reference", "conversations.replies", []string{"channel", ops, "ts", "1.000001"}, "thread_not_found"},
		{"reference", "conversations.history", []string{"channel", channelID(t, s, "quiet")}, "not_in_channel"},
		{"reference", "conversations.history", []string{"channel", ops, "oldest", "soon"}, "invalid_ts_oldest"},
		{"reference", "conversations.history", []string{"channel", ops, "latest", "soon"}, "invalid_ts_latest"},
	})
}

// rule 74: D. Five messages by two: cursors until there is none; a wrong one is
// invalid_cursor.
func TestPagination(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	for i := range 5 {
		say(t, s, "ann", "#ops", strconv.Itoa(i))
	}
	p := &slack.GetConversationHistoryParameters{ChannelID: ops, Limit: 2}
	var got []string
	for pages := 1; ; pages++ {
		h, err := client(s).GetConversationHistoryContext(soon(t), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range h.Messages {
			got = append(got, m.Text)
		}
		if p.Cursor = h.ResponseMetaData.NextCursor; p.Cursor == "" {
			if pages != 3 || h.HasMore {
				t.Errorf("%d pages, has_more %v", pages, h.HasMore)
			}
			break
		}
		if !strings.HasSuffix(p.Cursor, "=") || !h.HasMore {
			t.Errorf("cursor %q, has_more %v", p.Cursor, h.HasMore)
		}
	}
	if strings.Join(got, "") != "43210" {
		t.Errorf("got %q", got)
	}
	p.Cursor = "bm9uc2Vuc2U="
	if _, err := client(s).GetConversationHistoryContext(soon(t), p); refused(err) != "invalid_cursor" {
		t.Errorf("wrong cursor: %v", err)
	}
	middle := s.History("#ops", "ann")[2]
	h, err := client(s).GetConversationHistoryContext(soon(t), &slack.GetConversationHistoryParameters{ChannelID: ops, Oldest: middle.TS})
	if err != nil || len(h.Messages) != 2 {
		t.Errorf("after the third: %d messages, %v", len(h.Messages), err)
	}
}

// rule 75: D. Metadata's payload is read back only on request.
func TestMetadata(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	_, _, err := client(s).PostMessageContext(soon(t), ops, slack.MsgOptionText("x", false),
		slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "run", EventPayload: map[string]any{"id": "7"}}))
	if err != nil {
		t.Fatal(err)
	}
	s.ExpectMessage(t, "#ops", "x")
	for all, want := range map[bool]int{false: 0, true: 1} {
		h, err := client(s).GetConversationHistoryContext(soon(t), &slack.GetConversationHistoryParameters{ChannelID: ops, IncludeAllMetadata: all})
		if err != nil || h.Messages[0].Metadata.EventType != "run" || len(h.Messages[0].Metadata.EventPayload) != want {
			t.Errorf("include_all_metadata %v: %+v, %v", all, h.Messages[0].Metadata, err)
		}
	}
}

// rule 76: A. Scheduling into the past, too far, and with metadata, which is
// accepted and never posted.
func TestSchedule(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	at := func(d time.Duration) string { return strconv.FormatInt(s.Now().Add(d).Unix(), 10) }
	checkRefusals(t, s, []refusalRow{
		{"rule 76: A", "chat.scheduleMessage", []string{"channel", ops, "text", "x", "post_at", at(-time.Minute)}, "time_in_past"},
		{"rule 76: A", "chat.scheduleMessage", []string{"channel", ops, "text", "x", "post_at", at(121 * 24 * time.Hour)}, "time_too_far"},
		{"reference", "chat.scheduleMessage", []string{"channel", ops, "text", "x", "post_at", "tomorrow"}, "invalid_time"},
		{"reference", "chat.scheduleMessage", []string{"channel", ops, "post_at", at(time.Hour)}, "no_text"},
		{"rule 76: A", "chat.scheduleMessage", []string{"channel", ops, "text", "never", "post_at", at(time.Hour), "metadata", `{"event_type":"t","event_payload":{}}`}, ""},
		{"reference", "chat.scheduleMessage", []string{"channel", ops, "text", "later", "post_at", at(time.Hour)}, ""},
		{"reference", "chat.deleteScheduledMessage", []string{"channel", ops, "scheduled_message_id", "Q1"}, "invalid_scheduled_message_id"},
	})
	id := form(t, s, "chat.scheduleMessage", "channel", ops, "text", "deleted", "post_at", at(2*time.Hour)).str("scheduled_message_id")
	if list, _, err := client(s).GetScheduledMessagesContext(soon(t), &slack.GetScheduledMessagesParameters{Channel: ops}); err != nil || len(list) != 3 {
		t.Errorf("scheduled: %+v, %v", list, err)
	}
	if _, err := client(s).DeleteScheduledMessageContext(soon(t), &slack.DeleteScheduledMessageParameters{Channel: ops, ScheduledMessageID: id}); err != nil {
		t.Error(err)
	}
	s.Advance(3 * time.Hour)
	s.ExpectMessage(t, "#ops", "later")
	if h := s.History("#ops", "ann"); len(h) != 1 {
		t.Errorf("history = %+v", h)
	}
	for range 30 {
		if a := form(t, s, "chat.scheduleMessage", "channel", ops, "text", "x", "post_at", at(time.Hour)); a.err() != "" {
			t.Fatal(a.text)
		}
	}
	checkRefusals(t, s, []refusalRow{{"reference", "chat.scheduleMessage", []string{"channel", ops, "text", "x", "post_at", at(time.Hour)}, "restricted_too_many"}})
}

// respond posts to a response_url.
func respond(t *testing.T, address, body string) answer {
	t.Helper()
	return send(t, http.MethodPost, address, jsonType, "", body)
}

// rule 89: D. A response_url works five times within 30 minutes, is ephemeral
// by default, and replaces its message on request.
// rule 90: X. slack-go's null blocks and empty metadata are accepted.
func TestResponseURL(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	slash := func() string {
		t.Helper()
		done := async(func() error { _, err := ann.Slash("#quiet", "/runbook"); return err })
		e := w.asked()
		w.ack(e, "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		u, _ := dig(e, "payload.response_url").(string)
		return u
	}
	u := slash() // in a channel that the bot is not in
	if a := respond(t, u, `{"text":"one","replace_original":false,"delete_original":false,"metadata":{"event_type":"","event_payload":null},"blocks":null}`); a.body["ok"] != true {
		t.Errorf("slack-go's form: %s", a.text)
	}
	s.ExpectEphemeral(t, "#quiet", "ann", "one")
	if err := slack.PostWebhookContext(soon(t), u, &slack.WebhookMessage{Text: "two", ResponseType: "in_channel"}); err != nil {
		t.Errorf("PostWebhook() = %v", err)
	}
	if m := s.ExpectMessage(t, "#quiet", "two"); m.For != "" {
		t.Errorf("in_channel: %+v", m)
	}
	for _, bad := range []string{`{`, `{}`, `{"text":"x","blocks":[{"type":"nonsense"}]}`, `{"delete_original":true}`} { // none of them counts
		if a := respond(t, u, bad); a.body["ok"] != false || a.status != 200 {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
	for range 3 {
		respond(t, u, `{"text":"more"}`)
		s.ExpectEphemeral(t, "#quiet", "ann", "more")
	}
	if a := respond(t, u, `{"text":"six"}`); a.status != 404 || a.err() != "used_url" {
		t.Errorf("sixth use: %d %s", a.status, a.text)
	}
	u = slash()
	s.Advance(30*time.Minute + time.Second)
	if a := respond(t, u, `{"text":"late"}`); a.status != 404 || a.err() != "expired_url" {
		t.Errorf("after 30 minutes: %d %s", a.status, a.text)
	}
	if a := respond(t, s.URL()+"/commands/T1/x/y", `{"text":"x"}`); a.status != 404 {
		t.Errorf("made-up URL: %d %s", a.status, a.text)
	}
}

// rule 89: D. On a message's button: replace, delete, and a reply in its thread.
func TestResponseURLOfButton(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ops := channelID(t, s, "ops")
	click := func(ts string) string {
		t.Helper()
		done := async(func() error { return s.As("ann").Click("#ops", ts, "go") })
		e := w.asked()
		w.ack(e, "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		u, _ := dig(e, "payload.response_url").(string)
		return u
	}
	ts := post(t, s, ops, goButton)
	u := click(ts)
	if a := respond(t, u, `{"replace_original":true,"text":"replaced"}`); a.body["ok"] != true {
		t.Error(a.text)
	}
	if m, _ := s.Message(ops, ts); m.Text != "replaced" || m.Blocks != nil {
		t.Errorf("message = %+v", m)
	}
	respond(t, u, `{"replace_original":false,"response_type":"in_channel","thread_ts":"`+ts+`","text":"in the thread"}`)
	s.ExpectReply(t, "#ops", ts, "in the thread")
	if a := respond(t, u, `{"delete_original":true}`); a.body["ok"] != true {
		t.Error(a.text)
	}
	if m, _ := s.Message(ops, ts); !m.Deleted {
		t.Error("not deleted")
	}
	eph := form(t, s, "chat.postEphemeral", "channel", ops, "user", userID(t, s, "ann"), "text", "psst", "blocks", goButton).str("message_ts")
	s.ExpectEphemeral(t, "#ops", "ann", "psst")
	respond(t, click(eph), `{"replace_original":true,"response_type":"in_channel","text":"still just for you"}`)
	if m, _ := s.Message(ops, eph); m.Text != "still just for you" || m.For != userID(t, s, "ann") {
		t.Errorf("ephemeral = %+v", m)
	}
}

// Every key that an answer has exists in the reference's example with the same
// JSON type, where the example has that object at all.
func TestShapesMatchReference(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	ts := say(t, s, "ann", "#ops", "hello").TS
	calls := []struct {
		method, object string
		args           []string
	}{
		{"auth.test", "", nil}, {"conversations.info", "channel", []string{"channel", ops}}, {"conversations.create", "channel", []string{"name", "new-one"}},
		{"users.info", "user", []string{"user", userID(t, s, "ann")}}, {"users.info", "user.profile", []string{"user", userID(t, s, "ann")}},
		{"conversations.history", "", []string{"channel", ops}}, {"reactions.get", "", []string{"channel", ops, "timestamp", ts}},
		{"bookmarks.add", "bookmark", []string{"channel_id", ops, "title", "t", "type", "link", "link", "https://example.com"}},
		{"team.info", "team", nil}, {"bots.info", "bot", []string{"bot", s.BotID()}},
	}
	examples := slacksim.ReferenceAnswers()
	// Keys that captured answers of Slack have and the reference's examples lack.
	known := map[string]bool{"bot_id": true, "is_enterprise_install": true, "team_id": true, "is_app_user": true, "num_members": true, "is_member": true}
	for _, c := range calls {
		a := form(t, s, c.method, c.args...)
		got, want := any(a.body), any(examples[c.method])
		if c.object != "" {
			got, want = a.at(c.object), answer{body: examples[c.method]}.at(c.object)
		}
		ours, _ := got.(map[string]any)
		theirs, _ := want.(map[string]any)
		if len(ours) == 0 || len(theirs) == 0 {
			t.Errorf("%s: nothing to compare: %s", c.method, a.text)
		}
		for key, v := range ours {
			example, ok := theirs[key]
			switch {
			case !ok && !known[key]:
				t.Errorf("%s: %s.%s is not in the reference's example", c.method, c.object, key)
			case ok && v != nil && example != nil && kindOf(v) != kindOf(example):
				t.Errorf("%s: %s.%s is a %s, want %s", c.method, c.object, key, kindOf(v), kindOf(example))
			}
		}
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64, json.Number:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "array"
	}
	return "object"
}
