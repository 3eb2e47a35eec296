package slacksim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever a client sends as a Web API call is either understood, with every
// argument as text, or refused with an error of the reference.
func FuzzRequest(f *testing.F) {
	f.Add("application/json; charset=utf-8", "channel=C1", []byte(`{"channel":"C1","blocks":[{"type":"divider"}],"token":"x","n":1,"b":true,"z":null}`))
	f.Add("application/x-www-form-urlencoded", "token=x", []byte("token=xoxb&channel=C1&text=%F0%9F%98%80"))
	f.Add("multipart/form-data; boundary=b", "", []byte("--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhi\r\n--b--\r\n"))
	f.Add("", "", []byte("x"))
	f.Add("text/plain", "%zz", []byte("{"))
	known := map[string]bool{"": true, "invalid_json": true, "json_not_object": true, "invalid_form_data": true, "invalid_post_type": true, "missing_post_type": true, "invalid_charset": true, "request_timeout": true}
	f.Fuzz(func(t *testing.T, contentType, query string, body []byte) {
		if strings.ContainsAny(contentType, "\r\n") {
			t.Skip()
		}
		for method, fact := range methodFacts {
			if method != "chat.postMessage" && method != "conversations.info" {
				continue
			}
			hr := httptest.NewRequest(http.MethodPost, "/api/"+method, strings.NewReader(string(body)))
			hr.URL.RawQuery = query
			hr.Header.Set("Content-Type", contentType)
			r, problem := parseRequest(method, fact, hr)
			if !known[problem] {
				t.Fatalf("unknown error %q", problem)
			}
			if problem != "" {
				continue
			}
			if r.has("token") {
				t.Fatal("the token is among the arguments")
			}
			for name := range r.wasJSON {
				if !json.Valid([]byte(r.get(name))) {
					t.Fatalf("%s is not JSON any more: %q", name, r.get(name))
				}
			}
			r.checkArgs()
		}
	})
}

// A frame from a client is either an ack for some envelope, with a payload
// that is JSON and not empty, or has a reason why it is none.
func FuzzAck(f *testing.F) {
	for _, s := range []string{`{"envelope_id":"1"}`, `{"envelope_id":"1","payload":{}}`, `{"envelope_id":"1","payload":{"text":"x"}}`, `{"payload":1}`, `[]`, `null`, `{"envelope_id":1}`, `{"envelope_id":"1","payload":"{"}`, `{"envelope_id":"1","payload":{ }}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, problem := parseAck(data)
		if (problem == "") != (frame.EnvelopeID != "") {
			t.Fatalf("%q: %+v, %q", data, frame, problem)
		}
		if frame.Payload != nil && !json.Valid(frame.Payload) {
			t.Fatalf("payload %q", frame.Payload)
		}
		if _, ok := readOptions(frame.Payload); ok && frame.Payload == nil {
			t.Fatal("no payload offers no options")
		}
	})
}

// A manifest is taken or refused, never half read.
func FuzzManifest(f *testing.F) {
	f.Add(defaultManifest)
	f.Add([]byte(`{"display_information":{"name":"x"}}`))
	f.Add([]byte("features: {slash_commands: [{command: runbook}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseManifest(data); err == nil && m.Display.Name == "" {
			t.Fatal("a manifest without a name was taken")
		}
	})
}
