package bot

import (
	"testing"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ envelope, payload, kind, key string }{
		"slash": {
			"slash_commands", `{"command":"/runbook","text":"list","trigger_id":"1.2.x","user_id":"U1","is_enterprise_install":"false"}`,
			kindSlash, "slash:1.2.x",
		},
		"click in a message": {
			"interactive", `{"type":"block_actions","user":{"id":"U1"},"container":{"type":"message","channel_id":"C1","message_ts":"1.5"},"actions":[{"action_id":"stop","block_id":"b","action_ts":"9.1","value":"R"}]}`,
			kindClick, "click:C1/1.5:b:stop:U1:9.1",
		},
		"click in a view": {
			"interactive", `{"type":"block_actions","user":{"id":"U1"},"container":{"type":"view","view_id":"V1"},"actions":[{"action_id":"a","block_id":"b","action_ts":"9.1"}]}`,
			kindClick, "click:V1:b:a:U1:9.1",
		},
		"submission": {
			"interactive", `{"type":"view_submission","user":{"id":"U1"},"view":{"id":"V1","hash":"1.abc"}}`,
			kindSubmit, "view:V1:1.abc:U1",
		},
		"mention": {
			"events_api", `{"event_id":"Ev1","event":{"type":"app_mention","user":"U1","text":"<@UB> hi","channel":"C1","ts":"1.5"}}`,
			kindEvent, "said:C1:1.5",
		},
		"direct message": {
			"events_api", `{"event_id":"Ev2","event":{"type":"message","channel_type":"im","user":"U1","text":"hi","channel":"D1","ts":"1.6"}}`,
			kindEvent, "said:D1:1.6",
		},
		"the mention again, as a message": {
			"events_api", `{"event_id":"Ev3","event":{"type":"message","channel_type":"channel","user":"U1","text":"<@UB> hi","channel":"C1","ts":"1.5"}}`, "", "",
		},
		"Markdown in a channel": {
			"events_api", `{"event":{"type":"message","subtype":"file_share","channel_type":"channel","user":"U1","channel":"C1","ts":"1.5","files":[{"id":"F1","name":"x.png"},{"id":"F2","name":"INC-1.md"}]}}`,
			kindEvent, "paper:C1:1.5",
		},
		"own Markdown": {"events_api", `{"event":{"type":"message","subtype":"file_share","channel_type":"channel","user":"UB","bot_id":"B1","channel":"C1","ts":"1.5","files":[{"id":"F2","name":"INC-1.md"}]}}`, "", ""},
		"another file": {"events_api", `{"event":{"type":"message","subtype":"file_share","channel_type":"channel","user":"U1","channel":"C1","ts":"1.5","files":[{"id":"F1","name":"x.png"}]}}`, "", ""},
		"own message": {
			"events_api", `{"event":{"type":"message","channel_type":"im","user":"UB","bot_id":"B1","channel":"D1","ts":"1.7"}}`, "", "",
		},
		"edit": {
			"events_api", `{"event":{"type":"message","subtype":"message_changed","channel_type":"im","channel":"D1","ts":"1.7","hidden":true}}`, "", "",
		},
		"pushpin": {
			"events_api", `{"event":{"type":"reaction_added","reaction":"pushpin","user":"U1","event_ts":"9.1","item":{"type":"message","channel":"C1","ts":"1.5"}}}`,
			kindEvent, "reaction_added:C1:1.5:U1:9.1",
		},
		"another reaction": {"events_api", `{"event":{"type":"reaction_added","reaction":"tada","user":"U1","event_ts":"9.1","item":{"type":"message","channel":"C1","ts":"1.5"}}}`, "", ""},
		"pin": {
			"events_api", `{"event":{"type":"pin_added","user":"U1","channel_id":"C1","event_ts":"9.1","item":{"type":"message","channel":"C1","message":{"ts":"1.5","text":"x"}}}}`,
			kindEvent, "pin_added:C1:1.5:U1:9.1",
		},
		"own pin": {"events_api", `{"event":{"type":"pin_added","user":"UB","channel_id":"C1","event_ts":"9.1","item":{"type":"message","channel":"C1","message":{"ts":"1.5","bot_id":"B1"}}}}`, "", ""},
		"edit by a person": {
			"events_api", `{"event":{"type":"message","subtype":"message_changed","channel":"C1","ts":"1.9","message":{"ts":"1.5","user":"U1","text":"y","edited":{"ts":"1.8"}}}}`,
			kindEvent, "edited:C1:1.5:1.8",
		},
		"own edit": {"events_api", `{"event":{"type":"message","subtype":"message_changed","channel":"C1","message":{"ts":"1.5","bot_id":"B1","edited":{"ts":"1.8"}}}}`, "", ""},
		"deletion": {"events_api", `{"event":{"type":"message","subtype":"message_deleted","channel":"C1","deleted_ts":"1.5"}}`, kindEvent, "deleted:C1:1.5"},
		"deletion of what has replies": {
			"events_api", `{"event":{"type":"message","subtype":"message_changed","channel":"C1","ts":"1.9","message":{"subtype":"tombstone","ts":"1.5","user":"USLACKBOT"},"previous_message":{"ts":"1.5","user":"U1"}}}`,
			kindEvent, "deleted:C1:1.5",
		},
		"shortcut":      {"interactive", `{"type":"message_action","callback_id":"x","trigger_id":"1.2.y"}`, kindAct, "act:1.2.y"},
		"reaction":      {"events_api", `{"event":{"type":"reaction_added","user":"U1"}}`, "", ""},
		"closed view":   {"interactive", `{"type":"view_closed","view":{"id":"V1"}}`, "", ""},
		"no actions":    {"interactive", `{"type":"block_actions","actions":[]}`, "", ""},
		"no trigger":    {"slash_commands", `{"command":"/runbook"}`, kindSlash, ""},
		"unknown":       {"new_kind", `{"type":"x"}`, "", ""},
		"empty payload": {"events_api", `{}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := readPayload([]byte(c.payload))
			if err != nil {
				t.Fatal(err)
			}
			kind, key, ok := identify(c.envelope, p)
			if ok != (c.key != "") || ok && (kind != c.kind || key != c.key) {
				t.Errorf("identify() = %q, %q, %v; want %q, %q", kind, key, ok, c.kind, c.key)
			}
		})
	}
}

// An item on record always has a key that says more than its kind.
func FuzzIdentify(f *testing.F) {
	f.Add("slash_commands", []byte(`{"trigger_id":"1"}`))
	f.Add("interactive", []byte(`{"type":"block_actions","actions":[{"action_id":"a"}]}`))
	f.Add("events_api", []byte(`{"event":{"type":"app_mention","user":"U","channel":"C","ts":"1"}}`))
	f.Fuzz(func(t *testing.T, envelope string, data []byte) {
		p, err := readPayload(data)
		if err != nil {
			return
		}
		kind, key, ok := identify(envelope, p)
		if ok && (kind == "" || len(key) <= len("said:")) {
			t.Errorf("identify() = %q, %q", kind, key)
		}
		_ = p.firstInput()
	})
}
